"""Where things stand, so that none stands in another."""

import numpy as np

from task_relatedness.rooms.scenes.fittings import wall_pose
from task_relatedness.rooms.scenes.furniture import Piece
from task_relatedness.rooms.scenes.scene import pose

Rng = np.random.Generator


class FloorPlan:
    """The floor of a room and the rectangles on it that are taken.

    Args:
        extents: of the room in metres.
    """

    def __init__(self, extents: tuple[float, float, float]) -> None:
        self._extents = extents
        self._half = 0.5 * np.array(extents[:2])
        # (low corner, high corner, height)
        self._taken: list[tuple[np.ndarray, np.ndarray, float]] = []
        self._clear: list[tuple[np.ndarray, np.ndarray, float]] = []

    def place(self, piece: Piece, rng: Rng) -> np.ndarray | None:
        """Takes room for a piece and returns its pose ``[4, 4]``; None where no room was found."""
        for _ in range(40):
            place = self._against_wall(piece, rng) if piece.against_wall else self._free(rng)
            if self.fits(place, piece.footprint, piece.height):
                # What stands on it comes later.
                above = 0.0 if piece.top is None else 0.8
                self.take(place, piece.footprint, piece.height + above)
                return place
        return None

    def take(self, place: np.ndarray, footprint: tuple[float, float], height: float) -> None:
        """Takes the room of a `footprint` at `place`, for something as high as `height`."""
        self._taken.append((*_rectangle(place, footprint), height))

    def keep_clear(self, place: np.ndarray, footprint: tuple[float, float], above: float) -> None:
        """Lets nothing higher than `above` stand on a `footprint` at `place`."""
        self._clear.append((*_rectangle(place, footprint), above))

    def fits(self, place: np.ndarray, footprint: tuple[float, float], height: float) -> bool:
        """Whether something can stand at `place`: in the room, and on and before nothing else."""
        low, high = _rectangle(place, footprint)
        if (low < -self._half).any() or (high > self._half).any():
            return False
        return not any(
            (low < other_high).all() and (high > other_low).all()
            for other_low, other_high, allowed in (
                *((*corners, 0.0) for *corners, _ in self._taken),
                *self._clear,
            )
            if height > allowed
        )

    def is_free(self, position: np.ndarray) -> bool:
        """Whether a camera at ``[3]`` `position` is clear of walls and of everything as high."""
        place = position[:2]
        if (np.abs(place) > self._half - 0.25).any():
            return False
        return not any(
            (place > low - 0.25).all()
            and (place < high + 0.25).all()
            and position[2] < height + 0.3
            for low, high, height in self._taken
        )

    def _against_wall(self, piece: Piece, rng: Rng) -> np.ndarray:
        side = int(rng.integers(4))
        reach = max(0.0, self._half[side % 2] - 0.5 * piece.footprint[0] - 0.02)
        wall = wall_pose(self._extents, side, rng.uniform(-reach, reach))
        gap = rng.uniform(0.01, 0.06)
        return wall @ pose((0.0, -0.5 * piece.footprint[1] - gap, 0.0))

    def _free(self, rng: Rng) -> np.ndarray:
        x, y = rng.uniform(-0.85, 0.85, 2) * self._half
        return pose((x, y, 0.0), rng.integers(4) * np.pi / 2 + rng.uniform(-0.35, 0.35))


def _rectangle(place: np.ndarray, footprint: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """The low and the high corner of the rectangle around a footprint that stands at `place`."""
    reach = np.abs(place[:2, :2]) @ (0.5 * np.array(footprint))
    return place[:2, 3] - reach, place[:2, 3] + reach

"""Stand-ins for rendered rooms: one coloured disc before a plain wall, with the truth of it."""

import torch
from torch import Tensor

from task_relatedness.rooms.data_set import CLASSES, Rooms

WALL, TABLE = 0, 7


def blob_rooms(count: int, *, size: int = 32, seed: int = 0) -> Rooms:
    """Rooms whose truth is known by construction; room i is the same whatever the count."""
    rooms = [_room(size, torch.Generator().manual_seed(1000 * seed + i)) for i in range(count)]
    images = torch.stack([image for image, _ in rooms])
    targets = {name: torch.stack([truth[name] for _, truth in rooms]) for name in rooms[0][1]}
    return Rooms(images, targets | {"autoencoding": images, "denoising": images}, dict(CLASSES))


def _room(size: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
    wall, disc = torch.rand(2, 3, 1, 1, generator=generator)
    row, column, radius = torch.rand(3, generator=generator) * 0.4 + 0.25
    kind = int(torch.randint(3, (), generator=generator))
    disc = disc / 2
    disc[kind] += 0.5
    places = (torch.arange(size) + 0.5) / size
    inside = (places[:, None] - row).square() + (places - column).square() < (radius / 2) ** 2
    image = torch.where(inside, disc, wall * 0.6)
    edges = inside ^ torch.roll(inside, 1, 0) | inside ^ torch.roll(inside, 1, 1)
    down, across = torch.meshgrid(places - row, places - column, indexing="ij")
    slope = torch.stack([across, down, torch.full_like(down, 0.3)])
    normal = torch.where(inside, slope, torch.tensor([0.0, 0.0, 1.0])[:, None, None])
    return image, {
        "edge_texture": edges[None].float(),
        "normal": normal / normal.norm(dim=0),
        "room_layout": torch.stack([column, row, radius]).repeat(4)[:11] * 2 - 1,
        "segment_unsup2d": inside.long() + 5,
        "segment_semantic": torch.where(inside, TABLE + kind, WALL),
        "class_object": torch.tensor(kind),
    }

"""Decisions: what a p-value is worth at a level."""

from typing import Literal

Decision = Literal["derived", "independent", "undecided"]


def decide(p_value: float, n_independents: int, *, level: float = 0.05) -> Decision:
    """Returns the decision that a p-value supports at `level`.

    - ``derived`` when the p-value is at most `level`, which happens to at most that share of
      independent models
    - ``independent`` when the suspect is farther than half of the independents
    - ``undecided`` otherwise, or when `n_independents` are so few that no distance could reach the
      level, since no p-value is below ``1/(n + 1)``

    Raises:
        ValueError: for a level outside (0, 0.5) or a p-value that n models cannot give.

    Example:
        >>> decide(0.05, 19), decide(0.25, 3), decide(0.9, 19)
        ('derived', 'undecided', 'independent')
    """
    if not 0 < level < 0.5:
        raise ValueError(f"level must lie between 0 and 0.5, got {level}.")
    smallest = 1 / (n_independents + 1)
    if not smallest - 1e-12 <= p_value <= 1:
        raise ValueError(
            f"the p-value of {n_independents} independents lies in [{smallest:.4g}, 1], "
            f"got {p_value}."
        )
    if smallest > level:
        return "undecided"
    if p_value <= level:
        return "derived"
    return "independent" if p_value > 0.5 else "undecided"

"""Distances between gradient fields.

A field ``[N, S, *input_shape]`` has ``N·S`` *cells*, one vector a reference and step. Cells are
compared one by one and averaged, in float64. A cell of zero norm has no direction: two such cells
are at cosine distance 0, one of them beside another cell at 1, and they are counted in a warning.
"""

import warnings
from collections.abc import Sequence
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

Kind = Literal["cosine", "euclidean", "cosine_frechet", "euclidean_frechet"]
KINDS: tuple[str, ...] = get_args(Kind)

# Float64 numbers held at once while a block of references is compared: 256 MiB.
_BLOCK_NUMBERS = 2**25


class ZeroCellWarning(UserWarning):
    """Some cells of a compared field are zero, so that their direction is undefined."""


class Field(Protocol):
    """Anything that gives its field by blocks of references: a tensor, or a field store."""

    @property
    def shape(self) -> Sequence[int]:
        """``(N, S, *input_shape)``."""
        ...

    def __getitem__(self, rows: slice, /) -> Tensor:
        """The field ``[n, S, *input_shape]`` of some references."""
        ...


def distance(a: Field, b: Field, *, kind: Kind = "cosine") -> float:
    """Returns the distance of two fields of the same references, in [0, 2] for the cosine kinds.

    - ``cosine``: mean over references and steps of ``1 - cos`` (ModelGiF, section 3)
    - ``euclidean``: mean over references and steps of the Euclidean norm of the difference
    - ``cosine_frechet``, ``euclidean_frechet``: mean over references of the *largest* of these
      over steps, that is, the length of the longest leash when both walk their paths in step

    Zero and non-finite cells are treated as in `pairwise_distances`, which also gives the errors.
    """
    return distance_per_reference(a, b, kind=kind).mean().item()


def distance_per_reference(a: Field, b: Field, *, kind: Kind = "cosine") -> Tensor:
    """Returns the contribution of each reference to `distance`, float64 ``[N]``, whose mean it is.

    Raises:
        ValueError: as `pairwise_distances`.
    """
    _check(kind, [a, b])
    names, zeros, parts = ["a", "b"], [0, 0], []
    for rows in _blocks([a, b]):
        cells = [_cells(f[rows], name, rows.start) for f, name in zip((a, b), names, strict=True)]
        zeros = [z + int(_is_zero(c).sum()) for z, c in zip(zeros, cells, strict=True)]
        parts.append(_per_reference(cells[0], cells[1], kind))
    _warn_of_zero_cells(zeros, names, a.shape[0] * a.shape[1])
    return torch.cat(parts)


def pairwise_distances(
    fields: Sequence[Field], *, kind: Kind = "cosine", names: Sequence[str] | None = None
) -> Tensor:
    """Returns the distances of all pairs of `fields`, float64 ``[M, M]``, symmetric, zero diagonal.

    With every cell scaled to length ``1/√(N·S)``, a model is one unit vector u, and the cosine
    distance is ``1 - ⟨u_A, u_B⟩``: all pairs are one matrix product, accumulated over blocks of
    references. √(2D) is a metric. Fields may be tensors or field stores; of stores, only a
    block of references is in memory at a time.

    Args:
        fields: M fields of one shape ``[N, S, *input_shape]`` and the same references.
        kind: as in `distance`.
        names: what to call the fields in messages; by default their positions.

    Raises:
        ValueError: for fewer than one field, unlike shapes, an unknown kind, or a cell that is not
            finite; the message names the field and the reference.

    Warns:
        ZeroCellWarning: when a field has zero cells, with their number.
    """
    names = [str(i) for i in range(len(fields))] if names is None else list(names)
    if not fields or len(names) != len(fields):
        raise ValueError(
            f"expected one name per field, got {len(fields)} fields, {len(names)} names."
        )
    _check(kind, fields)
    n_references, n_steps = fields[0].shape[:2]
    total = torch.zeros(len(fields), len(fields), dtype=torch.float64)
    zeros = [0] * len(fields)
    for rows in _blocks(fields):
        blocks = [_cells(f[rows], n, rows.start) for f, n in zip(fields, names, strict=True)]
        zeros = [z + int(_is_zero(b).sum()) for z, b in zip(zeros, blocks, strict=True)]
        if kind == "cosine":
            total += _cosine_sums(blocks).cpu() / n_steps
        else:
            for i, j in torch.combinations(torch.arange(len(fields))).tolist():
                total[i, j] += _per_reference(blocks[i], blocks[j], kind).sum().cpu()
                total[j, i] = total[i, j]
    _warn_of_zero_cells(zeros, names, n_references * n_steps)
    # A matrix product need not round both triangles alike.
    distances = (total + total.T) / (2 * n_references)
    if kind == "cosine":
        distances = (1 - distances).clamp(0, 2)
    return distances.fill_diagonal_(0)


def zero_cells(field: Field) -> int:
    """Returns how many of the field's ``N·S`` cells are zero, and so have no direction.

    Raises:
        ValueError: as `pairwise_distances`.
    """
    _check("cosine", [field])
    return sum(int(_is_zero(_cells(field[r], "", r.start)).sum()) for r in _blocks([field]))


def _cosine_sums(blocks: list[Tensor]) -> Tensor:
    """Sums of the cosines of all cells of a block for all pairs, ``[M, M]``."""
    unit = torch.stack([_unit(block).flatten() for block in blocks])
    zero = torch.stack([_is_zero(block).flatten() for block in blocks]).double()
    return unit @ unit.T + zero @ zero.T


def _per_reference(a: Tensor, b: Tensor, kind: Kind) -> Tensor:
    """Distances ``[n]`` of blocks of cells ``[n, S, D]``."""
    if kind.startswith("euclidean"):
        cells = (a - b).norm(dim=2)
    else:
        # ½‖u - v‖² = 1 - ⟨u, v⟩, without its cancellation: equal cells are at exactly 0.
        cells = ((_unit(a) - _unit(b)).square().sum(2) / 2).clamp(max=2)
        cells[_is_zero(a) ^ _is_zero(b)] = 1
    return cells.amax(1) if kind.endswith("frechet") else cells.mean(1)


def _cells(block: Tensor, name: str, first: int) -> Tensor:
    """A block ``[n, S, *input_shape]`` as finite float64 cells ``[n, S, D]``."""
    cells = block.detach().flatten(2).double()
    finite = cells.isfinite().all(2).all(1)
    if not finite.all():
        bad = first + int(finite.logical_not().nonzero()[0].item())
        raise ValueError(
            f"field {name} is not finite (NaN or infinity) at reference {bad}: its model's weights "
            "or outputs overflow there; a distance would be meaningless."
        )
    return cells


def _unit(cells: Tensor) -> Tensor:
    """Cells scaled to length 1; zero cells stay zero."""
    # By the largest entry first, so that squares of tiny or huge entries stay in range.
    cells = cells / cells.abs().amax(2, keepdim=True).where(~_is_zero(cells)[:, :, None], 1)
    return cells / cells.norm(dim=2, keepdim=True).where(~_is_zero(cells)[:, :, None], 1)


def _is_zero(cells: Tensor) -> Tensor:
    return (cells == 0).all(2)


def _blocks(fields: Sequence[Field]) -> list[slice]:
    n_references, *rest = fields[0].shape
    size = max(1, _BLOCK_NUMBERS // max(1, len(fields) * torch.Size(rest).numel()))
    return [slice(i, min(i + size, n_references)) for i in range(0, n_references, size)]


def _check(kind: Kind, fields: Sequence[Field]) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    shapes = {tuple(field.shape) for field in fields}
    if len(shapes) > 1:
        raise ValueError(
            "fields must have one shape [N, S, *input_shape], the same references and steps, "
            f"got {', '.join(map(str, sorted(shapes)))}."
        )
    (shape,) = shapes
    if len(shape) < 3 or 0 in shape:
        raise ValueError(f"a field must be a non-empty [N, S, *input_shape], got {list(shape)}.")


def _warn_of_zero_cells(zeros: list[int], names: list[str], n_cells: int) -> None:
    found = [f"{name}: {z}" for name, z in zip(names, zeros, strict=True) if z]
    if found:
        warnings.warn(
            f"zero cells among {n_cells} in field {', '.join(found)}: the target does not depend "
            "on the input there, so these cells say nothing about function.",
            ZeroCellWarning,
            stacklevel=3,
        )

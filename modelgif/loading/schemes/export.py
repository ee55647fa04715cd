"""``export:FILE.pt2``: networks exported as a graph by torch.export."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from modelgif.fields.model import scores
from modelgif.loading.address import PREPROCESSING_KEYS, Address, did_you_mean
from modelgif.loading.errors import CheckpointError
from modelgif.loading.scheme import Built, Scheme
from modelgif.loading.trust import require_trust

# torch.export.load unpickles constants and odd weights with weights_only=False, hands the shape
# expressions to sympy's parser, which evaluates them, and lets a graph call any function of torch.
_REASON = (
    "reading an archive of torch.export can run any code that its maker put in it. Safer: have the "
    "maker save the weights as safetensors, and use file:…?architecture=…"
)


class Exported(nn.Module):
    """An exported graph that takes any number of images, and any call of ``train`` or ``eval``.

    Args:
        graph: the module of an exported program: one image batch to scores.
        batch: number of images it takes at a time; None if any.
    """

    def __init__(self, graph: nn.Module, batch: int | None) -> None:
        super().__init__()
        self.graph = graph
        self.batch = batch

    def train(self, mode: bool = True) -> "Exported":
        """Marks the mode only: the graph keeps the one it was exported in, and refuses a change."""
        self.training = mode
        return self

    def forward(self, x: Tensor) -> object:
        """Returns the graph's output, for a fixed batch put together from parts."""
        if self.batch is None:
            return self.graph(x)
        parts = []
        for part in x.split(self.batch):
            filling = part[-1:].expand(self.batch - len(part), *part.shape[1:])
            full = torch.cat([part, filling])
            parts.append(scores(self.graph(full), self.batch)[: len(part)])
        return torch.cat(parts)


def build_export(address: Address, *, download: bool = False, trust: Collection[str]) -> Built:
    """Returns the network in a ``.pt2`` archive, and the image size that it was exported for.

    Args:
        address: the query takes preprocessing alone.
        download: not needed.
        trust: must hold the address without its query, because the archive can run code.

    Raises:
        modelgif.loading.errors.UntrustedError: when it does not.
        ValueError: for a query of anything else, or a graph that takes more than one batch of
            images or was exported in training mode.
        modelgif.loading.errors.CheckpointError: for a file that is missing or damaged.
    """
    for key in address.arguments():
        raise ValueError(
            f"an exported graph takes mean, std and size, got {key!r} in {address.text}: its other "
            f"arguments were fixed when it was exported.{did_you_mean(key, PREPROCESSING_KEYS)}"
        )
    path = Path(address.name).expanduser()
    if path.suffix != ".pt2":
        raise CheckpointError(f"{path} must end in .pt2 to be read as an archive of torch.export.")
    require_trust(address, [f"export:{address.name}"], _REASON, trust)
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}.")
    try:
        program = torch.export.load(path)
        graph = program.module()
    except Exception as error:
        # A damaged archive, or one of another version of torch, fails in many ways.
        raise CheckpointError(
            f"{path} cannot be read by torch {torch.__version__} ({type(error).__name__}: "
            f"{str(error)[:200]}). Export the model again with this torch."
        ) from error
    _check_mode(program.graph_module, path)
    batch, size = _images(program, path)
    return Exported(graph, batch), {} if size is None else {"size": size}


def _images(program: torch.export.ExportedProgram, path: Path) -> tuple[int | None, Any]:
    """The fixed batch and the fixed image size of a graph, None where they are free."""
    wanted = program.graph_signature.user_inputs
    shapes = [
        list(node.meta["val"].shape)
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in wanted
    ]
    if len(wanted) != 1 or len(shapes) != 1 or len(shapes[0]) < 2:
        raise ValueError(
            f"{path} must take one batch of images, got a graph of {len(wanted)} inputs: export a "
            "module whose forward takes the images alone."
        )
    # Free sizes are symbols.
    fixed = [extent if isinstance(extent, int) else None for extent in shapes[0]]
    size = fixed[2:] if len(fixed) == 4 and None not in fixed[2:] else None
    return fixed[0], size


def _check_mode(graph: fx.GraphModule, path: Path) -> None:
    for part in graph.modules():
        for node in part.graph.nodes if isinstance(part, fx.GraphModule) else []:
            if isinstance(node.target, torch._ops.OpOverload):
                names = [argument.name for argument in node.target._schema.arguments]
                given = dict(zip(names, node.args, strict=False)) | node.kwargs
                if given.get("train") is True or given.get("training") is True:
                    raise ValueError(
                        f"{path} was exported in training mode ({node.name}): call model.eval() "
                        "before torch.export.export."
                    )


SCHEME = Scheme(
    name="export",
    example="export:model.pt2",
    summary="a graph saved by torch.export, which torch unpickles",
    build=build_export,
    needs_trust="always",
    is_path=True,
)

"""Times gradient fields against captum, a plain loop, and the bare passes that nothing can beat.

    PYTHONPATH=. python benchmarks/field.py [--networks resnet20 vit_b_16 ...]

prints one table and writes `benchmarks/results/field.csv`, with columns for the CPU and for a CUDA
device, empty where there is none. Networks are untrained; the target is the same class for all.
All ways of one network take the same path points, in turns, in one process:

- floor: forward and input-backward passes of random images and nothing else, at the fastest of
  several batch sizes in either memory layout
- ours: `gradient_field` as it is, and with BatchNorm folded
- captum: `IntegratedGradients`, which keeps the last step only, at its fastest
  `internal_batch_size`
- plain loop: one reference at a time, its path as one batch, the field to the host

Memory is what the process took beyond what it had before, at most. On one thread the clock is the
processor's, on several and on CUDA the wall's.
"""

import argparse
import copy
from collections.abc import Callable
from pathlib import Path

import torch
from captum.attr import IntegratedGradients
from measuring import Table, clock_of, median_seconds, peak_bytes, results, synchronise
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from modelgif.experiment.cifar_resnet import resnet20
from modelgif.fields.acceleration import Acceleration, accelerate
from modelgif.fields.gradient_field import gradient_field
from modelgif.fields.quadrature import quadrature

BATCHES = (4, 8, 16, 32, 64, 256, 1024)


def resnet18_small() -> nn.Module:
    """ResNet-18 as it is used for images of 32×32: a 3×3 stem without pooling."""
    network = models.resnet18(num_classes=10)
    network.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    network.maxpool = nn.Identity()  # type: ignore[assignment]
    return network


def vgg16_small() -> nn.Module:
    """VGG16 with BatchNorm for images of 32×32: one linear layer after the last pooling."""
    network = models.vgg16_bn(num_classes=10)
    network.avgpool = nn.AdaptiveAvgPool2d(1)
    network.classifier = nn.Sequential(nn.Linear(512, 10))
    return network


def taskonomy_encoder() -> nn.Module:
    """The encoder of Taskonomy's networks, its feature maps averaged to scores."""
    from task_relatedness.learning.taskonomy_networks import encoder

    return nn.Sequential(encoder(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


# The network, its input's side, and references × steps that take seconds on a CPU core.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, int, int]] = {
    "resnet20": (resnet20, 32, 8, 50),
    "resnet18": (resnet18_small, 32, 2, 50),
    "vgg16_bn": (vgg16_small, 32, 2, 50),
    "resnet50": (models.resnet50, 224, 1, 8),
    "vit_b_16": (models.vit_b_16, 224, 1, 4),
    "taskonomy": (taskonomy_encoder, 256, 1, 8),
}
MORE_ON_CUDA = 64


def bare(model: nn.Module, images: Tensor, batch: int, together: bool) -> None:
    """Forward and backward passes, and nothing else."""
    layout = torch.channels_last if together else torch.contiguous_format
    for chunk in images.split(batch):
        x = chunk.contiguous(memory_format=layout).requires_grad_()
        torch.autograd.grad(model(x)[:, 1].sum(), x)


def loop(model: nn.Module, references: Tensor, n_steps: int) -> Tensor:
    """One reference at a time."""
    nodes, weights, _ = quadrature("gausslegendre", n_steps)
    nodes, weights = (t.to(references).reshape(-1, 1, 1, 1) for t in (nodes, weights))
    fields = []
    for reference in references:
        path = (nodes * reference).requires_grad_()
        (gradient,) = torch.autograd.grad(model(path)[:, 1].sum(), path)
        fields.append((reference * (weights * gradient).cumsum(0)).cpu())
    return torch.stack(fields)


def fastest(ways: dict[int, Callable[[], object]], device: str) -> int:
    """Returns the key of the way that takes least; one that fails is left out."""
    clock, _ = clock_of(device)
    next(iter(ways.values()))()
    best: dict[int, float] = {}
    for key, way in ways.items():
        try:
            synchronise(device)
            start = clock()
            way()
            synchronise(device)
            best[key] = clock() - start
        except torch.OutOfMemoryError:
            continue
        # The next sizes only get slower.
        if best[key] > 1.3 * min(best.values()):
            break
    return min(best, key=best.__getitem__)


def peak_flops(device: str, size: int = 2048) -> float:
    """Floating-point operations a second of a float32 matrix product."""
    a = torch.randn(size, size, device=device)
    seconds = median_seconds(
        {"product": lambda: a @ a}, repeats=9, device=device, clock=clock_of(device)[0]
    )
    return 2 * size**3 / seconds["product"]


def flops_a_point(model: nn.Module, image: Tensor) -> float:
    """Floating-point operations of one forward and input-backward pass."""
    leaf = image.clone().requires_grad_()
    with FlopCounterMode(display=False) as counter:
        # The counter's hooks do not take a leaf.
        torch.autograd.grad(model(leaf.clone())[:, 1].sum(), leaf)
    return counter.get_total_flops()


def measure(name: str, device: str, repeats: int) -> list[dict[str, str]]:
    """Returns a row for each way, of what was measured on the device."""
    make, side, n_references, n_steps = NETWORKS[name]
    n_references *= MORE_ON_CUDA if device == "cuda" else 1
    torch.manual_seed(0)
    model = make().eval().requires_grad_(False).to(device)
    references = torch.rand(n_references, 3, side, side, device=device)
    images = torch.rand(n_references * n_steps, 3, side, side, device=device)
    labels = torch.ones(n_references, dtype=torch.long)
    folded, (note,) = accelerate(model, references[:1], Acceleration(fold_batchnorm=True))
    captum = IntegratedGradients(model)

    def attribute(batch: int) -> object:
        return captum.attribute(
            references, target=labels.to(device), n_steps=n_steps, internal_batch_size=batch
        )

    sizes = [b for b in BATCHES if b <= len(images)]
    laid = {False: model, True: copy.deepcopy(model).to(memory_format=torch.channels_last)}
    layouts = {
        together: fastest(
            {b: lambda b=b, t=together: bare(laid[t], images, b, t) for b in sizes}, device
        )
        for together in laid
    }
    batch = fastest({b: lambda b=b: attribute(b) for b in sizes if b >= n_references}, device)
    ways: dict[str, Callable[[], object]] = {
        f"floor, {'channels_last' if together else 'contiguous'}, batch {size}": (
            lambda t=together, s=size: bare(laid[t], images, s, t)
        )
        for together, size in layouts.items()
    }
    ways["ours"] = lambda: gradient_field(model, references, target=labels, n_steps=n_steps)
    if note.startswith("no "):
        print(f"{name}: {note}")
    else:
        ways["ours, BatchNorm folded"] = lambda: gradient_field(
            folded, references, target=labels, n_steps=n_steps
        )
    ways[f"captum, internal_batch_size {batch}"] = lambda: attribute(batch)
    ways["plain loop"] = lambda: loop(model, references, n_steps)
    clock, name_of_clock = clock_of(device)
    seconds = median_seconds(ways, repeats=repeats, device=device, clock=clock)
    floor = min(seconds[way] for way in ways if way.startswith("floor"))
    flops, peak = flops_a_point(model, images[:1]), peak_flops(device)
    return [
        {
            "network": f"{name}@{side}",
            "way": way,
            f"references_x_steps_{device}": f"{n_references}×{n_steps}",
            f"points_a_second_{device}": f"{len(images) / seconds[way]:.1f}",
            f"of_floor_{device}": f"{floor / seconds[way]:.2f}",
            f"of_matrix_product_{device}": f"{flops * len(images) / seconds[way] / peak:.2f}",
            f"peak_mib_{device}": f"{peak_bytes(ways[way], device) / 2**20:.0f}",
            f"clock_{device}": name_of_clock,
        }
        for way in ways
    ]


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description="Times gradient fields.")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=results("field"))
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    table = Table(options.output, devices[-1])
    columns = (
        "references_x_steps",
        "points_a_second",
        "of_floor",
        "of_matrix_product",
        "peak_mib",
        "clock",
    )
    empty = {f"{column}_{device}": "" for device in ("cpu", "cuda") for column in columns}
    for name in options.networks:
        # On each device its own fastest batch sizes, so that ways of one name may be on one only.
        rows: dict[str, dict[str, str]] = {}
        for device in devices:
            for row in measure(name, device, options.repeats):
                rows[row["way"]] = rows.get(row["way"], {}) | row
        for row in rows.values():
            names = {"network": row["network"], "way": row["way"]}
            table.add(names | empty | row | {"repeats": options.repeats})


if __name__ == "__main__":
    main()

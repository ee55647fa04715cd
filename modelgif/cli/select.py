"""``modelgif select``: which of these models should I fine-tune on my data?"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from modelgif.cli.options import LOADING, complete_files, complete_models, load, with_options
from modelgif.cli.printing import Table, model_names, print_result

if TYPE_CHECKING:
    import torch

_N_HALVES = 20


class _ScoreName(click.ParamType):
    """A registered score of features. Scores are listed on use: help does without torch."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns `value` when it is registered, and fails with the names that are otherwise."""
        from modelgif.transferability import scores

        known = scores(needs="features")
        if value not in known:
            self.fail(f"{value!r} is not one of {', '.join(known)}.", param, ctx)
        return value


@click.command(
    epilog="""\b
    modelgif select 'timm:resnet18?pretrained=true' 'timm:resnet50?pretrained=true' \\
        --data my_images --size 224"""
)
@click.argument(
    "models", nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_models
)
@click.option(
    "--data",
    required=True,
    metavar="FOLDER",
    shell_complete=complete_files,
    help="Your images: one folder per class; or digits, photos, fashion_mnist.",
)
@click.option(
    "--score",
    type=_ScoreName(),
    default="knn",
    show_default=True,
    help="Transferability score that ranks the models, such as logme; an unknown name lists all.",
)
@click.option(
    "-n",
    "--count",
    type=click.IntRange(min=4),
    default=1000,
    show_default=True,
    help="Number of images, at most.",
)
@click.option("--size", type=click.IntRange(min=1), help="Pixels per side; required for a folder.")
@click.option(
    "--channels", type=click.IntRange(1, 3), help="1 (grey) or 3; by default as in the images."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random draws.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto: CUDA if available, otherwise the CPU.",
)
@with_options(LOADING)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def select(
    models: tuple[str, ...],
    data: str,
    score: str,
    count: int,
    size: int | None,
    channels: int | None,
    seed: int,
    device: str,
    download: bool,
    trust: tuple[str, ...],
    as_json: bool,
) -> None:
    """Rank pretrained MODELs for fine-tuning on your images, from their features alone.

    The interval of a score and the share of first places come from 20 random halves of the images.
    """
    import numpy as np
    from tqdm import tqdm

    from modelgif import transferability
    from modelgif.cli.labelled import find_labelled
    from modelgif.fields.features import penultimate_features
    from modelgif.transferability import SaturationWarning, SmallClassWarning

    images, labels, classes = find_labelled(
        data, count=count, size=size, channels=channels, seed=seed
    )
    features = {}
    for name, address in zip(model_names(models), tqdm(models, unit="model"), strict=True):
        model = load(address, device=device, download=download, trust=trust)
        features[name] = penultimate_features(model, images)
    halves = _halves(labels, seed)
    compute = transferability.scores()[score].compute
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        whole = {name: compute(found, labels) for name, found in features.items()}
        parts = np.array(
            [[compute(found[half], labels[half]) for found in features.values()] for half in halves]
        )
    saturated = (SaturationWarning, SmallClassWarning)
    notes = sorted({str(w.message) for w in caught if issubclass(w.category, saturated)})
    first = (parts.argmax(1)[:, None] == np.arange(len(whole))).mean(0)
    half_width = 1.96 * parts.std(0, ddof=1)
    rows = [
        {
            "model": name,
            score: whole[name],
            # Halves spread around the whole as wholes spread around the truth (Shao and Wu, 1989).
            "95 % ±": half_width[column].item(),
            "first in": first[column].item(),
            "features": found.shape[1],
        }
        for column, (name, found) in enumerate(features.items())
    ]
    rows.sort(key=lambda row: math.inf if math.isnan(row[score]) else -row[score])
    result: dict[str, Any] = {
        "images": len(images),
        "classes": len(classes),
        "models": Table(rows),
        "advice": _advice(rows, score),
    }
    print_result(result | ({"notes": notes} if notes else {}), as_json=as_json)


def _halves(labels: "torch.Tensor", seed: int) -> list["torch.Tensor"]:
    """Random halves of the rows, each with half of every class."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    rows = [(labels == label).nonzero().flatten() for label in labels.unique()]
    return [
        torch.cat(
            [r[torch.randperm(len(r), generator=generator)[: (len(r) + 1) // 2]] for r in rows]
        )
        for _ in range(_N_HALVES)
    ]


def _advice(rows: Sequence[Mapping[str, Any]], score: str) -> str:
    best, share = rows[0]["model"], rows[0]["first in"]
    if len(rows) == 1:
        return f"{best} is the only model."
    close = [row["model"] for row in rows if row["first in"] > 0.05]
    if share >= 0.95:
        return f"fine-tune {best}: it is first by {score} in {share:.0%} of random halves."
    return (
        f"{score} does not decide between {', '.join(close)}: {best} is first in {share:.0%} of "
        "random halves. Fine-tune these, or give more images."
    )

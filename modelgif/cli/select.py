"""``modelgif select``: which of these models should I fine-tune on my data?"""

import warnings
from typing import Any

import click
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from modelgif import transferability
from modelgif.cli.labelled import find_labelled
from modelgif.cli.options import LOADING, complete_files, complete_models, with_options
from modelgif.cli.printing import model_names, print_result
from modelgif.experiment.seeding import resolve_device
from modelgif.fields.features import penultimate_features
from modelgif.loading.load import load_model
from modelgif.loading.trust import TRUSTED
from modelgif.transferability import SaturationWarning, SmallClassWarning

# Scores that need nothing but features and labels.
SCORES = tuple(transferability.scores(needs="features"))
_N_HALVES = 20


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
    type=click.Choice(SCORES),
    default="knn",
    show_default=True,
    help="What the advice rests on.",
)
@click.option(
    "-n",
    "--count",
    type=click.IntRange(min=4),
    default=1000,
    show_default=True,
    help="How many images at most.",
)
@click.option("--size", type=click.IntRange(min=1), help="Pixels per side; a folder needs it.")
@click.option("--channels", type=click.IntRange(1, 3), help="1 (grey) or 3.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of all random draws.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
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
    images, labels, classes = find_labelled(
        data, count=count, size=size, channels=channels, seed=seed
    )
    features = {}
    for name, address in zip(model_names(models), tqdm(models, unit="model"), strict=True):
        model = load_model(
            address,
            device=resolve_device(device),
            download=download,
            trust=(*TRUSTED, *trust),
        )
        features[name] = penultimate_features(model, images)
    halves = _halves(labels, seed)
    compute = transferability.scores()[score].compute
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        whole = {name: compute(found, labels) for name, found in features.items()}
        parts = np.array(
            [[compute(found[half], labels[half]) for found in features.values()] for half in halves]
        )
    notes = sorted({str(w.message) for w in caught if issubclass(w.category, _SCORE_WARNINGS)})
    table = pd.DataFrame(
        {
            "model": list(whole),
            score: list(whole.values()),
            # Halves spread around the whole as wholes spread around the truth (Shao and Wu, 1989).
            "95 % ±": 1.96 * parts.std(0, ddof=1),
            "first in": (parts.argmax(1)[:, None] == np.arange(len(whole))).mean(0),
            "features": [found.shape[1] for found in features.values()],
        }
    ).sort_values(score, ascending=False, ignore_index=True)
    result: dict[str, Any] = {
        "images": len(images),
        "classes": len(classes),
        "models": table,
        "advice": _advice(table, score),
    }
    print_result(result | ({"notes": notes} if notes else {}), as_json=as_json)


_SCORE_WARNINGS = (SaturationWarning, SmallClassWarning)


def _halves(labels: torch.Tensor, seed: int) -> list[torch.Tensor]:
    """Random halves of the rows, each with half of every class."""
    generator = torch.Generator().manual_seed(seed)
    rows = [(labels == label).nonzero().flatten() for label in labels.unique()]
    return [
        torch.cat(
            [r[torch.randperm(len(r), generator=generator)[: (len(r) + 1) // 2]] for r in rows]
        )
        for _ in range(_N_HALVES)
    ]


def _advice(table: pd.DataFrame, score: str) -> str:
    best, share = table.loc[0, "model"], table.loc[0, "first in"]
    if len(table) == 1:
        return f"there is only {best} to choose."
    close = table.loc[table["first in"] > 0.05, "model"].tolist()
    if share >= 0.95:
        return f"fine-tune {best}: it is first by {score} in {share:.0%} of random halves."
    return (
        f"{score} does not decide between {', '.join(close)}: {best} is first in {share:.0%} of "
        "random halves. Fine-tune these, or give more images."
    )

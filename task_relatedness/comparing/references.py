"""The images at which encoders are compared, made once a run and written to files."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modelgif.data.image_folder import read_image
from modelgif.experiment.run import Run
from modelgif.experiment.seeding import seeded_generator
from modelgif.references.adversarial import feature_attack
from modelgif.references.file import read_references, write_references
from modelgif.references.references import References, cutmix, derangement
from modelgif.storage.atomic import write_text
from task_relatedness import config as configuration
from task_relatedness.config import PublishedConfig, TaskRelatednessConfig
from task_relatedness.encoders.load import encoder_digests, encoders
from task_relatedness.rooms.data_set import load_rooms
from task_relatedness.zoo import of_rooms, rows_of

# What is zero after the encoders' own normalisation of pixels in [0, 1] to [-1, 1].
ZERO = 0.5
_IMAGES = (".png", ".jpg", ".jpeg")


def references_path(run: Run[TaskRelatednessConfig], kind: configuration.References) -> Path:
    """Returns where references of one kind are."""
    return run.folder / "references" / f"{kind}.safetensors"


def make_references(run: Run[TaskRelatednessConfig]) -> None:
    """Writes the references of every kind that are not there yet, or were made from other things.

    - ``plain``: the last rooms, or images of a folder drawn at random
    - ``cutmix``: each of these with a box of another pasted in
    - ``adversarial``: each moved so that the encoder of `measure.adversary` sees something else

    Raises:
        FileNotFoundError: when published encoders or the folder of images are missing.
        ValueError: when the folder has too few images, or a file that is none.
    """
    for kind in dict.fromkeys(("plain", *run.config.measure.references)):
        path, made_from = references_path(run, kind), _made_from(run, kind)
        if _is_made(path, made_from):
            continue
        write_references(path, _make(run, kind))
        write_text(path.with_suffix(".json"), json.dumps(made_from, indent=2) + "\n")


@lru_cache(maxsize=3)
def references(run: Run[TaskRelatednessConfig], kind: configuration.References) -> References:
    """Returns the references of one kind that `make_references` wrote; read once a process.

    Raises:
        modelgif.references.file.ReferenceFileError: when they are missing or damaged.
    """
    return read_references(references_path(run, kind))


def starts(
    run: Run[TaskRelatednessConfig],
    kind: configuration.References,
    baseline: configuration.Baseline,
) -> float | Tensor:
    """Returns where paths begin: a number for all, or an image for each reference.

    ``zero`` is what the encoders' normalisation turns to zero; ``reference`` begins each path at
    another reference, drawn so that each is begun at once.
    """
    if baseline == "zero":
        return ZERO
    images = references(run, kind).images
    generator = seeded_generator(run.config.seed, "baseline", kind)
    return images[derangement(len(images), generator=generator)]


def read_images(config: PublishedConfig, *, generator: torch.Generator) -> References:
    """Returns images of the configured folder and all below it, drawn at random.

    Of each, the shorter side is resized and the central square is kept.

    Raises:
        FileNotFoundError: when there is no such folder.
        ValueError: when it has too few images, or one that is not sound.
    """
    folder = Path(config.images)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"published.images must be a folder of images, and there is none at {folder}: such as "
            "the rgb images of Taskonomy's tiny test split."
        )
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGES)
    if len(files) < config.n_references:
        raise ValueError(
            f"published.n_references is {config.n_references}, and {folder} has {len(files)} files "
            f"that end in {', '.join(_IMAGES)}."
        )
    chosen = torch.randperm(len(files), generator=generator)[: config.n_references].tolist()
    images = torch.stack([read_image(files[i], config.size) for i in chosen])
    return References(images, tuple(files[i].relative_to(folder).as_posix() for i in chosen))


def _make(run: Run[TaskRelatednessConfig], kind: configuration.References) -> References:
    config, generator = run.config, seeded_generator(run.config.seed, "references", kind)
    if kind == "plain":
        return _plain(config, generator)
    plain = read_references(references_path(run, "plain"))
    if kind == "cutmix":
        return References(cutmix(plain.images, generator=generator), plain.ids)
    adversary = encoders(run)[config.measure.adversary]
    moved = feature_attack(
        adversary,
        plain.images.to(next(adversary.parameters()).device),
        **config.measure.perturbation.model_dump(),
        generator=generator,
    )
    return References(moved.cpu(), plain.ids)


def _plain(config: TaskRelatednessConfig, generator: torch.Generator) -> References:
    if config.published is not None:
        return read_images(config.published, generator=generator)
    rooms = of_rooms(config).rooms
    rows = rows_of("references", rooms)
    images = load_rooms(rooms, config.seed, tasks=()).images[rows]
    return References(images, tuple(f"room/{i}" for i in range(rows.start, rows.stop)))


def _made_from(run: Run[TaskRelatednessConfig], kind: configuration.References) -> dict[str, Any]:
    config = run.config
    made_from: dict[str, Any] = {"kind": kind, "seed": config.seed}
    if kind == "plain":
        return made_from | config.model_dump(mode="json", include={"rooms", "published"})
    made_from["plain"] = read_references(references_path(run, "plain")).sha256()
    if kind == "adversarial":
        made_from["adversary"] = encoder_digests(run)[config.measure.adversary]
        made_from["perturbation"] = config.measure.perturbation.model_dump(mode="json")
    return made_from


def _is_made(path: Path, made_from: dict[str, Any]) -> bool:
    try:
        known = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        read_references(path)
    except (OSError, ValueError):
        return False  # not made yet, or damaged
    return known == made_from

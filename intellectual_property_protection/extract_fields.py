"""Stage 2: chooses the references and extracts every model's field at them."""

import torch

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.train import checkpoint_path
from intellectual_property_protection.zoo import roster
from modelgif.experiment.data import ImageData, load_data
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.seeding import resolve_device, seeded_generator
from modelgif.extract import extract
from modelgif.reference import References, cutmix, random_references


def choose_references(config: IPPConfig, data: ImageData) -> References:
    """Returns the references: test images, which no model has learnt, as they are or mixed."""
    ids = [f"test/{row}" for row in range(len(data.test_images))]
    drawn = random_references(
        data.test_images,
        ids,
        config.references.count,
        generator=seeded_generator(config.seed, "references"),
    )
    if config.references.selection == "random":
        return drawn
    mixed = cutmix(drawn.images, generator=seeded_generator(config.seed, "cutmix"))
    return References(mixed, tuple(f"cutmix/{name}" for name in drawn.ids))


def extract_fields(run: Run[IPPConfig]) -> None:
    """Extracts the field of every member of the zoo that has no field store yet."""
    config, field = run.config, run.config.field
    data = load_data(**config.data.model_dump())
    done = extract(
        {m.name: f"file:{checkpoint_path(run, m)}" for m in roster(config)},
        choose_references(config, data),
        run.folder / "fields",
        target=field.target,
        baseline=data.mean if field.baseline == "mean" else field.baseline,
        n_steps=field.n_steps,
        rule=field.rule,
        cumulative=field.cumulative,
        scale_by_path=field.scale_by_path,
        storage=field.storage,
        device=resolve_device(config.device),
        dtype=getattr(torch, field.dtype),
        config_sha256=run.label.rsplit("-", 1)[-1],
    )
    done.raise_for_failures()


if __name__ == "__main__":
    run_stage(extract_fields, IPPConfig, testbed="intellectual_property_protection")

"""Stage 2: chooses the references and extracts every model's field at them."""

from functools import lru_cache, partial

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.train import checkpoint_path
from intellectual_property_protection.zoo import Member, roster
from modelgif.experiment.data import ImageData, load_data
from modelgif.experiment.parallel import for_each, workers_on
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
    workers = workers_on(resolve_device(run.config.device))
    extract_one = partial(_extract, run)
    for_each(extract_one, roster(run.config), title="extract", unit="model", workers=workers)


def _extract(run: Run[IPPConfig], member: Member) -> None:
    config, field = run.config, run.config.field
    data = _data(run)
    done = extract(
        {member.name: f"file:{checkpoint_path(run, member)}"},
        choose_references(config, data),
        run.folder / "fields",
        target=field.target,
        baseline=data.mean if field.baseline == "mean" else field.baseline,
        **field.options(),
        device=resolve_device(config.device),
        config_sha256=run.label.rsplit("-", 1)[-1],
        progress=False,
    )
    done.raise_for_failures()


@lru_cache(maxsize=1)
def _data(run: Run[IPPConfig]) -> ImageData:
    """Read once a process, however many fields it extracts."""
    return load_data(**run.config.data.model_dump())


if __name__ == "__main__":
    run_stage(extract_fields, IPPConfig, testbed="intellectual_property_protection")

"""Stage 2: makes the candidates, and compares every model with the victim at them.

Fields are large: kept are the victim's at all candidates, and everybody's at the references that
figures show. Of the others, only the distances are kept.
"""

import json
from functools import lru_cache, partial
from pathlib import Path

from torch import Tensor

from intellectual_property_protection.comparing.candidates import first_of, make_candidates
from intellectual_property_protection.comparing.comparison_file import (
    digest,
    read_comparison,
    write_comparison,
)
from intellectual_property_protection.comparing.victim_comparison import VictimComparison
from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.train import checkpoint_path
from intellectual_property_protection.zoo import Member, roster
from modelgif.data.data import load_data
from modelgif.experiment.parallel import for_each, workers_on
from modelgif.experiment.run import Run, run_stage
from modelgif.experiment.seeding import resolve_device
from modelgif.loading.checkpoint import weights_sha256
from modelgif.loading.load import load_model
from modelgif.loading.preprocessing import Preprocessed
from modelgif.references.file import read_references, write_references
from modelgif.references.references import References
from modelgif.storage.atomic import write_text
from modelgif.zoo.extract import extract


def candidates_path(run: Run[IPPConfig]) -> Path:
    """Returns where the candidates are."""
    return run.folder / "references.safetensors"


def comparison_path(run: Run[IPPConfig], member: Member) -> Path:
    """Returns where the member's comparison with the victim is."""
    return run.folder / "comparisons" / f"{member.name}.h5"


def field_path(run: Run[IPPConfig], member: Member) -> Path:
    """Returns where the member's field at the shown references is."""
    return run.folder / "fields" / f"{member.name}.h5"


def extract_fields(run: Run[IPPConfig]) -> None:
    """Compares with the victim every member of the zoo that has no valid comparison yet."""
    config = run.config
    victim, *others = roster(config)
    device = resolve_device(config.device)
    candidates = _made_candidates(run, victim)
    _extract(run, victim, candidates, _victims_field(run, victim).parent)
    for_each(
        partial(_compare, run, victim),
        [victim, *others],
        title="compare",
        unit="model",
        workers=workers_on(device),
    )


def _compare(run: Run[IPPConfig], victim: Member, member: Member) -> None:
    """Extracts the member's field at the shown references and compares it at all candidates."""
    comparison, references = _comparison(run, victim), run.config.references
    shown = first_of(comparison.candidates, references.sources[0], references.count)
    _extract(run, member, shown, field_path(run, member).parent)
    if member != victim:
        path = comparison_path(run, member)
        found = read_comparison(path)
        before = dict(found.made_from)
        comparison.compare_with_victim(
            _model(run, member),
            found,
            same_classes=member.label_set == victim.label_set,
            same_architecture=member.architecture == victim.architecture,
        )
        if found.made_from != before:
            write_comparison(path, found)


def _made_candidates(run: Run[IPPConfig], victim: Member) -> References:
    """Returns the candidates, made when they are not there or were made with another victim.

    Beside them is noted what they were made from: another device may make others of the same.
    """
    config, path = run.config, candidates_path(run)
    model, note = _model(run, victim), path.with_suffix(".json")
    settings = config.model_dump(mode="json", include={"seed", "data", "references"})
    made_from = {"made_from": digest(weights_sha256(model), settings)}
    try:
        if json.loads(note.read_text(encoding="utf-8")) == made_from:
            return read_references(path)
    except (OSError, ValueError):
        pass  # not made yet, or damaged
    data = load_data(**config.data.model_dump())
    candidates = make_candidates(config.references, data, model, seed=config.seed)
    write_references(path, candidates)
    write_text(note, json.dumps(made_from) + "\n")
    return candidates


def _extract(run: Run[IPPConfig], member: Member, references: References, folder: Path) -> None:
    field = run.config.field
    done = extract(
        {member.name: f"file:{checkpoint_path(run, member)}"},
        references,
        folder,
        target=field.target,
        baseline=_baseline(run),
        **field.options(),
        device=resolve_device(run.config.device),
        config_sha256=run.label.rsplit("-", 1)[-1],
        progress=False,
    )
    done.raise_for_failures()


@lru_cache(maxsize=1)
def _comparison(run: Run[IPPConfig], victim: Member) -> VictimComparison:
    """Made once per process, however many models it compares."""
    return VictimComparison(
        run.config,
        read_references(candidates_path(run)),
        _baseline(run),
        _model(run, victim),
        _victims_field(run, victim),
    )


@lru_cache(maxsize=1)
def _baseline(run: Run[IPPConfig]) -> float | Tensor:
    """Read once per process, however many fields it extracts."""
    baseline = run.config.field.baseline
    return load_data(**run.config.data.model_dump()).mean if baseline == "mean" else baseline


def _model(run: Run[IPPConfig], member: Member) -> Preprocessed:
    dtype = run.config.field.options()["dtype"]
    device = resolve_device(run.config.device)
    return load_model(f"file:{checkpoint_path(run, member)}", device=device, dtype=dtype)


def _victims_field(run: Run[IPPConfig], victim: Member) -> Path:
    """Where the victim's field at all candidates is."""
    return run.folder / "fields" / "candidates" / f"{victim.name}.h5"


def files(run: Run[IPPConfig]) -> list[Path]:
    """Returns the files that the stage makes, for ``--status``."""
    victim, *others = roster(run.config)
    fields = [field_path(run, member) for member in (victim, *others)]
    compared = [comparison_path(run, member) for member in others]
    return [candidates_path(run), _victims_field(run, victim), *fields, *compared]


if __name__ == "__main__":
    run_stage(extract_fields, IPPConfig, testbed="intellectual_property_protection")

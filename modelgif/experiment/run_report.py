"""The report of a run: what a testbed found, on one page in its folder."""

import shlex
from collections.abc import Sequence
from typing import Any

from modelgif.experiment.run import Run
from modelgif.reporting.report import Report, Section, write_report


def write_run_report(
    run: Run[Any],
    *,
    question: str,
    answer: str,
    sections: Sequence[Section],
    notes: Sequence[str] = (),
) -> None:
    """Writes ``report.html`` of a run, with its conditions and the command that repeats it.

    Args:
        run: whose stages have been run.
        question: that the testbed asks.
        answer: one or a few sentences.
        sections: the evidence.
        notes: what a reader must know besides the answer.
    """
    report = Report(
        question=question,
        answer=answer,
        sections=sections,
        conditions=_conditions(run),
        # The resolved configuration holds what was changed on the command line, too.
        repeat=shlex.join(["bash", f"{run.testbed}/run.sh", str(run.folder / "config.yaml")]),
        notes=notes,
    )
    write_report(run.folder / "report.html", report)


def _conditions(run: Run[Any]) -> dict[str, Any]:
    known = run.conditions()
    # The stage that draws is still running; drawn again, the page must be the same.
    stages = {name: of for name, of in known["stages"].items() if name != "plot"}
    return {
        "configuration": run.label,
        "seed": run.config.seed,
        "commit": known.get("commit", "unknown"),
        **{f"stage {name}": f"{s['seconds']:.0f} s, {s['finished']}" for name, s in stages.items()},
        **{name: of for name, of in known.get("machine", {}).items() if of is not None},
        **{f"version of {name}": of for name, of in known.get("versions", {}).items()},
    }

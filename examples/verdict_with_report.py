"""Were these two made from mine? A verdict among 19 independent networks, and a page to show it.

python examples/verdict_with_report.py    # writes verdict.html
"""

import pandas as pd
from digit_models import digits, trained

import modelgif as gif
from modelgif.reporting.figure import distributions
from modelgif.reporting.report import Report, Section, write_report

images, labels = digits()
theirs = (images[800:1600], labels[800:1600])
mine = trained(images[:800], labels[:800], seed=0)
suspects = {
    "fine_tuned": trained(*theirs, seed=50, start=mine, epochs=3, learning_rate=3e-4),
    "honest": trained(*theirs, seed=51),
}
independents = {f"independent{seed}": trained(*theirs, seed=seed) for seed in range(1, 20)}

references = images[1600:1664]
found = gif.stream_distances(
    {"mine": mine} | suspects | independents,
    references,
    baseline=references.mean().item(),
    n_steps=10,
    against="mine",
    progress=False,
)
each = dict(zip(found.names, found.per_reference, strict=True))
judged = gif.verdict.verdicts(
    list(suspects),
    {"field": [each[name].tolist() for name in suspects]},
    {"field": [each[name].tolist() for name in independents]},
    correction="none",  # one question about each, not one about both
)
table = pd.DataFrame(
    {
        "suspect": one.suspect,
        "distance": each[one.suspect].mean().item(),
        "p-value": one.p_value,
        "verdict": one.decision,
    }
    for one in judged
)
print(table.to_string(index=False))

groups = {name: [each[name].mean().item()] for name in suspects}
groups["independent"] = [each[name].mean().item() for name in independents]
write_report(
    "verdict.html",
    Report(
        question="Were these two networks made from mine?",
        answer=" ".join(
            f"{one.suspect}: {one.decision} (p = {one.p_value:.2f})." for one in judged
        ),
        sections=[
            Section("Verdicts", table=table),
            Section("Distances to mine", figure=distributions(groups), caption="A dot is a model"),
        ],
        conditions={"references": len(references), "steps": 10},
        repeat="python examples/verdict_with_report.py",
    ),
)

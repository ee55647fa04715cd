"""Were these two derived from mine? A verdict among 19 independent networks, and its report.

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
streamed = gif.stream_distances(
    {"mine": mine} | suspects | independents,
    references,
    baseline=references.mean().item(),
    n_steps=10,
    against="mine",
    progress=False,
)
assert streamed.per_reference is not None  # since it was told against which model
distances = {name: streamed.per_reference[i] for i, name in enumerate(streamed.names)}
results = gif.verdict.verdicts(
    list(suspects),
    {"field": [distances[name].tolist() for name in suspects]},
    {"field": [distances[name].tolist() for name in independents]},
    correction="none",  # each is judged by itself
)
table = pd.DataFrame(
    {
        "suspect": result.suspect,
        "distance": distances[result.suspect].mean().item(),
        "p-value": result.p_value,
        "verdict": result.decision,
    }
    for result in results
)
print(table.to_string(index=False))

groups = {name: [distances[name].mean().item()] for name in suspects}
groups["independent"] = [distances[name].mean().item() for name in independents]
write_report(
    "verdict.html",
    Report(
        question="Were these two networks derived from mine?",
        answer=" ".join(
            f"{result.suspect}: {result.decision} (p = {result.p_value:.2f})." for result in results
        ),
        sections=[
            Section("Verdicts", table=table),
            Section(
                "Distances to mine", figure=distributions(groups), caption="Each dot is a model"
            ),
        ],
        conditions={"references": len(references), "steps": 10},
        repeat="python examples/verdict_with_report.py",
    ),
)

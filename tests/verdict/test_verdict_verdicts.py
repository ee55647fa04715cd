import dataclasses
import math

import numpy as np
import pytest
import torch

from modelgif.verdict import (
    ModelKind,
    Verdict,
    combined_p_value,
    conformal_p_value,
    decide,
    holm,
    needed_references,
    verdicts,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def judge(suspects, independents, names: str | None = None, **options) -> list[Verdict]:
    """Verdicts by one method called field, or by several."""
    if not isinstance(suspects, dict):
        suspects, independents = {"field": suspects}, {"field": independents}
    count = len(next(iter(suspects.values())))
    return verdicts(names or [f"s{i}" for i in range(count)], suspects, independents, **options)


def test_each_alone_is_judged_as_by_the_plain_functions() -> None:
    generator = np.random.default_rng(0)
    for n in (10, 19, 40):
        suspects, independents = generator.random(30), generator.random(n)
        for score, verdict in zip(
            suspects, judge(suspects, independents, correction="none"), strict=True
        ):
            assert verdict.p_value == conformal_p_value(score, independents)
            assert verdict.adjusted_p_value == verdict.p_value
            assert verdict.decision == decide(verdict.p_value, n)
            assert verdict.n_independents == n
            assert verdict.smallest_p_value == 1 / (n + 1)
            assert verdict.p_value_interval is None


def test_holm_takes_all_suspects_together() -> None:
    independents = np.linspace(0.5, 1, 59)
    suspects = [0.1, 0.505, 0.2, 0.9]
    found = judge(suspects, independents)
    p_values = [verdict.p_value for verdict in found]
    assert p_values == pytest.approx([1 / 60, 2 / 60, 1 / 60, 48 / 60])
    assert [v.adjusted_p_value for v in found] == pytest.approx(holm(p_values).tolist())
    # The nearest of four is at best at 4/60, and those after it cannot be below.
    assert [v.decision for v in found] == ["undecided"] * 4
    assert all(v.needed_independents == 79 for v in found[:2])
    assert "79 would suffice" in found[0].note
    more = judge(suspects, np.linspace(0.5, 1, 79))
    assert [v.decision for v in more] == ["derived", "derived", "derived", "independent"]
    assert [v.needed_independents for v in more] == [None] * 4
    discovered = judge(suspects, independents, correction="benjamini_hochberg")
    assert [v.decision for v in discovered] == ["derived", "derived", "derived", "independent"]


@pytest.mark.parametrize("level", [0.01, 0.05, 0.1, 0.3])
def test_too_few_independents_decide_nothing_and_the_needed_ones_do(level: float) -> None:
    few = judge([0.0, 2.0], np.ones(3), level=level / 2)[0]
    assert few.decision == "undecided"
    needed = few.needed_independents
    assert needed == math.ceil(2 / (level / 2) - 1e-9) - 1
    enough = judge([0.0, 2.0], np.ones(needed), level=level / 2)
    assert [v.decision for v in enough] == ["derived", "independent"]
    assert "no suspect could be called derived" not in enough[0].note


@pytest.mark.slow
def test_level_is_kept_and_derived_models_are_found() -> None:
    generator = np.random.default_rng(1)
    n_zoos, any_accused, found = 800, 0, 0
    for _ in range(n_zoos):
        scores = generator.standard_normal((63, 2))
        scores[0] -= 4
        decisions = [
            v.decision
            for v in judge(
                {"field": scores[:3, 0], "labels": scores[:3, 1]},
                {"field": scores[3:, 0], "labels": scores[3:, 1]},
            )
        ]
        found += decisions[0] == "derived"
        any_accused += "derived" in decisions[1:]
    assert found / n_zoos > 0.9
    assert any_accused / n_zoos <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / n_zoos)
    assert any_accused > 0


KINDS = (
    [ModelKind("resnet", "plain")] * 8
    + [ModelKind("resnet", "adversarial")] * 6
    + [ModelKind("vgg", "plain")] * 12
)


def test_suspects_are_compared_with_models_of_their_kind() -> None:
    scores = np.array([0.5] * 8 + [0.2] * 6 + [0.9] * 12) + 1e-3 * np.arange(26)
    kinds = [
        ModelKind("resnet", "plain"),
        ModelKind("vgg", "adversarial"),
        ModelKind("vit", "plain"),
    ]
    options = {"suspect_kinds": kinds, "independent_kinds": KINDS, "correction": "none"}
    same, architecture, pooled = judge([0.45] * 3, scores, **options)
    assert same.matched_by == "architecture and training"
    assert (same.n_independents, same.p_value) == (8, 1 / 9)
    assert architecture.matched_by == "architecture"
    assert (architecture.n_independents, architecture.p_value) == (12, 1 / 13)
    assert "Only 0 of 12" in architecture.note
    assert pooled.matched_by == "pooled"
    assert (pooled.n_independents, pooled.p_value) == (26, 7 / 27)
    assert "Only 0 of 26" in pooled.note
    unknown = judge([0.45], scores)[0]
    assert (unknown.matched_by, unknown.p_value) == ("pooled", 7 / 27)
    assert "kinds of the models are not known" in unknown.note


def test_standardised_suspects_are_compared_with_all_kinds_large_enough() -> None:
    generator = np.random.default_rng(2)
    kinds = [*KINDS, ModelKind("vit", "plain"), ModelKind("vit", "plain")]
    place = {"resnet": 0.2, "vgg": 0.7, "vit": 0.95}
    scores = np.array([place[k.architecture] for k in kinds]) + generator.normal(0, 0.01, 28)
    suspect = 0.65  # near for its architecture alone
    found = judge(
        [suspect],
        scores,
        suspect_kinds=[ModelKind("vgg", "plain")],
        independent_kinds=kinds,
        calibration="standardised",
    )[0]
    assert found.n_independents == 26
    assert found.p_value == combined_p_value(
        [suspect],
        scores[:26, None],
        suspect_group=("vgg", "plain"),
        independent_groups=[(k.architecture, k.training) for k in KINDS],
    )
    assert (found.p_value, found.decision) == (1 / 27, "derived")
    assert found.calibration == "standardised"
    assert "kept approximately" in found.note
    options = {"suspect_kinds": [ModelKind("vgg", "plain")], "independent_kinds": kinds}
    matched = judge([suspect], scores, **options)[0]
    assert (matched.p_value, matched.decision) == (1 / 13, "undecided")


def test_several_methods_are_combined_and_missing_ones_named() -> None:
    generator = np.random.default_rng(3)
    suspects, independents = generator.standard_normal((2, 3)), generator.standard_normal((25, 3))
    suspects[1, 2] = independents[4, 0] = np.nan
    methods = ("field", "sac", "labels")
    tables = [{m: t[:, j] for j, m in enumerate(methods)} for t in (suspects, independents)]
    weights = {"labels": 1.0, "sac": 3.0, "field": 2.0}
    first, second = judge(*tables, weights=weights, correction="none")
    assert first.p_value == combined_p_value(suspects[0], independents, weights=[2, 3, 1])
    assert first.methods == methods
    assert first.n_independents == 24
    assert "Without 1 of 25 independent models, which not all of field, sac" in first.note
    assert second.p_value == combined_p_value(suspects[1, :2], independents[:, :2], weights=[2, 3])
    assert second.methods == ("field", "sac")
    assert "Without labels, which cannot describe the suspect" in second.note
    smallest = judge(*tables, rule="min", correction="none")[0]
    assert smallest.p_value == combined_p_value(suspects[0], independents, rule="min")


def contributions(gap: float, n_references: int, seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """One suspect, `gap` nearer than 30 independents, at references that differ for each model."""
    generator = np.random.default_rng(seed)
    independents = (
        0.5 + 0.02 * np.arange(30)[:, None] + generator.normal(0, 0.1, (30, n_references))
    )
    return 0.5 - gap + generator.normal(0, 0.1, (1, n_references)), independents


def test_thin_evidence_is_undecided_and_more_references_settle_it() -> None:
    suspect, independents = contributions(0.02, 40)
    options = {"n_bootstrap": 200, "generator": seeded()}
    assert judge(suspect, independents)[0].decision == "derived"
    thin = judge(suspect, independents, **options)[0]
    assert thin.decision == "undecided"
    assert thin.p_value_interval is not None
    assert thin.p_value_interval[0] <= thin.p_value <= 0.05 < thin.p_value_interval[1]
    assert thin.needed_references is not None
    assert thin.needed_references > 40
    assert f"About {thin.needed_references} like these would settle it" in thin.note
    suspect, independents = contributions(0.02, 4 * thin.needed_references)
    settled = judge(suspect, independents, **options)[0]
    assert settled.decision == "derived"
    assert settled.needed_references is None
    assert settled.note.startswith("The kinds")
    assert settled.p_value_interval is not None
    assert settled.p_value_interval[1] <= 0.05


@pytest.mark.parametrize(("others", "gap", "rank"), [(0, -0.02, 3), (1, 0.02, 1)])
def test_needed_references_are_of_the_comparison_that_decides(
    others: int, gap: float, rank: int
) -> None:
    # At the level 0.1 the suspect must be nearer than the third of 30 models, beside another
    # suspect than the first, since 2 · 2/31 is too much.
    suspect, independents = contributions(gap, 40)
    suspects = np.vstack([suspect, *[suspect + 2] * others])
    thin = judge(suspects, independents, level=0.1, n_bootstrap=200, generator=seeded())[0]
    assert thin.adjusted_p_value <= 0.1
    assert thin.decision == "undecided"
    decisive = independents[independents.mean(1).argsort()[rank - 1]]
    assert thin.needed_references == needed_references(decisive - suspect[0])
    assert thin.needed_references > 40


def test_interval_is_repeatable_and_leaves_clear_cases_alone() -> None:
    suspect, independents = contributions(0.3, 40)
    far = suspect + 2
    both = np.vstack([suspect, far])
    first, again = (
        judge(both, independents, level=0.1, n_bootstrap=50, generator=seeded()) for _ in range(2)
    )
    assert first == again
    assert [v.decision for v in first] == ["derived", "independent"]
    assert first[0].p_value_interval == (1 / 31, 1 / 31)
    assert first[1].p_value_interval == (1, 1)
    # A score for all references at once cannot be drawn anew.
    whole = judge(both.mean(1), independents.mean(1), n_bootstrap=50, generator=seeded())
    assert [v.p_value_interval for v in whole] == [None, None]
    mixed = verdicts(
        ["s"],
        {"field": suspect, "cka": [0.1]},
        {"field": independents, "cka": np.linspace(0.3, 0.6, 30)},
        n_bootstrap=50,
        generator=seeded(),
    )[0]
    assert mixed.p_value_interval == (1 / 31, 1 / 31)


def test_verdicts_are_plain_data() -> None:
    (verdict,) = judge([0.1], np.linspace(0.5, 1, 19), names=["model"])
    assert dataclasses.asdict(verdict) == {
        "suspect": "model",
        "decision": "derived",
        "p_value": 0.05,
        "adjusted_p_value": 0.05,
        "level": 0.05,
        "correction": "holm",
        "n_independents": 19,
        "smallest_p_value": 0.05,
        "matched_by": "pooled",
        "calibration": "matched",
        "methods": ("field",),
        "p_value_interval": None,
        "needed_independents": None,
        "needed_references": None,
        "note": verdict.note,
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        verdict.decision = "independent"  # type: ignore[misc]


PLAIN = ModelKind("resnet", "plain")


@pytest.mark.parametrize(
    ("suspects", "independents", "options", "message"),
    [
        ({"a": [1]}, {"a": [1]}, {"level": 0.5}, "between 0 and 0.5, got 0.5"),
        ({"a": [1]}, {"a": [1]}, {"calibration": "none"}, "one of matched, standardised, got"),
        ({"a": [1]}, {"a": [1]}, {"correction": "bonferroni"}, "correction must be one of"),
        (
            {"a": [1]},
            {"a": [1]},
            {"n_bootstrap": 5},
            "takes a generator and n_bootstrap >= 0, got 5",
        ),
        ({"a": [1]}, {"b": [1]}, {}, "by the same methods, got a and b"),
        ({}, {}, {}, "by the same methods, got none and none"),
        ({"a": [1, 2]}, {"a": [1]}, {}, r"expected 1 suspects and 1 .* shapes \[2, 1\]"),
        ({"a": [1], "b": [1]}, {"a": [1], "b": [1, 2]}, {}, r"got b of shapes \[1, 1\] and \[2"),
        ({"a": [[1, 2]]}, {"a": [[1]]}, {}, r"at the same references, got a .* \[1, 2\] and"),
        ({"a": 1}, {"a": [1]}, {}, r"scores of suspects by a, \[models\] or .*, got \[\]"),
        ({"a": [1]}, {"a": [1]}, {"weights": {"b": 1}}, "a weight of each of a, got b"),
        ({"a": [1]}, {"a": [1]}, {"suspect_kinds": [PLAIN]}, "and independents, or for neither"),
        (
            {"a": [1]},
            {"a": [1]},
            {"suspect_kinds": [PLAIN], "independent_kinds": [PLAIN] * 2},
            "kinds of 1 suspects and 1 independents, got 1 and 2",
        ),
        ({"a": [np.nan]}, {"a": [1]}, {}, "no independent model is described"),
        ({"a": [1]}, {"a": [np.inf]}, {}, "got infinity"),
    ],
)
def test_refused_cases(suspects, independents, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        verdicts(["s"], suspects, independents, **options)

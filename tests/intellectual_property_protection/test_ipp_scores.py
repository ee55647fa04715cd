"""Scores of the testbed on made-up comparisons with a known truth."""

import json

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.metrics import roc_auc_score

from intellectual_property_protection.comparing.comparison_file import Comparison, side_by_side
from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.evaluation_config import (
    CombinationConfig,
    EvaluationConfig,
    ReferencesConfig,
)
from intellectual_property_protection.member import Member
from intellectual_property_protection.score_name import ScoreName, check_scores, score_names
from intellectual_property_protection.scoring.reference_choice import mean_over, orders, resampled
from intellectual_property_protection.scoring.roles import roles_of
from intellectual_property_protection.scoring.score import Score, combine
from intellectual_property_protection.scoring.scores import Scores
from intellectual_property_protection.scoring.separation import (
    attack_measurements,
    half_widths,
    separation,
)
from intellectual_property_protection.scoring.verdicts import (
    evaluate_model,
    honest_groups,
    honest_measurements,
    suspect_measurements,
)
from modelgif.experiment.config import ConfigError, config_hash, load_config
from modelgif.ranking import auc, tpr_at_fpr
from modelgif.verdict import conformal_p_value

CONFIGS = "intellectual_property_protection/configs"


def zoo(n_suspects=4, n_independents=12, n_surrogates=2, architectures=("a", "b")):
    """A victim; suspects, honest suspects, independents, surrogates of each architecture."""
    members = [Member("victim", "victim", "scratch", architectures[0], data="victim")]
    for name in architectures:
        members += [Member(f"prune-{name}{i}", "suspect", "prune", name) for i in range(n_suspects)]
        members += [Member(f"honest-{name}{i}", "suspect", "scratch", name) for i in range(2)]
        members += [
            Member(f"ind-{name}{i}", "independent", "scratch", name) for i in range(n_independents)
        ]
        members += [
            Member(f"seen-{name}{i}", "independent", "scratch", name, data="victim")
            for i in range(2)
        ]
        members += [
            Member(f"sur-{name}{i}", "surrogate", "prune", name) for i in range(n_surrogates)
        ]
    return members


def comparisons(members, *, n=40, shift=0.0, seed=0, spread=1.0):
    """Distances ``[M, N]``; derived models are nearer by `shift`, architecture b is far away."""
    random = np.random.default_rng(seed)
    base = np.array([3.0 * (m.architecture == "b") - shift * m.is_derived for m in members])
    return base[:, None] + spread * random.normal(size=(len(members), n)) + 10


@pytest.fixture(scope="module")
def roles():
    return roles_of(zoo(), folds=3, seed=0)


RULES = EvaluationConfig(n_bootstrap=20)


def verdict(parts, roles, model, *, min_independents=5):
    config = RULES.model_copy(update={"min_independents": min_independents})
    return evaluate_model(parts, roles, model, config, level=0.05)


def one(roles, values):
    return Score(np.asarray(values, dtype=float)[None], roles.folds)


def test_the_cast_knows_who_may_choose_and_who_is_tested(roles):
    by_name = dict(zip(roles.names, roles.folds, strict=True))
    assert {name.split("-")[0] for name, fold in by_name.items() if fold >= 0} == {"ind"}
    for architecture in "ab":
        folds = [f for name, f in by_name.items() if name.startswith(f"ind-{architecture}")]
        assert sorted(np.bincount(folds)) == [4, 4, 4]
    assert set(roles.attacks) == {"prune"}
    assert len(roles.attacks["prune"]) == 8
    assert {roles.names[i].split("-")[0] for i in roles.honest} == {"honest", "ind"}
    assert {roles.names[i].split("-")[0] for i in roles.on_victims_data} == {"seen"}


def test_auc_and_tpr_equal_scikit_learns_and_the_librarys(roles):
    values = np.random.default_rng(1).integers(0, 9, len(roles.members)) / 4
    near, far = roles.attacks["prune"], roles.honest
    separated = separation(one(roles, values), roles, near, far, "pooled")
    truth = np.repeat([1, 0], [len(near), len(far)])
    assert separated.auc == pytest.approx(roc_auc_score(truth, -values[near + far]), abs=1e-12)
    assert separated.auc == pytest.approx(auc(values[near], values[far]), abs=1e-12)
    assert separated.tpr == tpr_at_fpr(values[near], values[far])
    assert (separated.n, separated.n_negatives) == (8, 28)


def test_auc_within_architectures_is_the_mean_of_each_ones(roles):
    values = np.random.default_rng(2).normal(size=len(roles.members))
    near, far = roles.attacks["prune"], roles.honest
    each = [
        auc(*(values[[i for i in s if roles.members[i].architecture == a]] for s in (near, far)))
        for a in "ab"
    ]
    separated = separation(one(roles, values), roles, near, far, "architecture")
    assert separated.auc == pytest.approx(np.mean(each), abs=1e-12)


def test_with_folds_every_pair_is_compared_where_the_negative_is_tested(roles):
    random = np.random.default_rng(3)
    score = Score(random.normal(size=(3, len(roles.members))), roles.folds)
    near, far = roles.attacks["prune"], roles.independents
    wins = [
        score.values[roles.folds[j], i] < score.values[roles.folds[j], j] for i in near for j in far
    ]
    separated = separation(score, roles, near, far, "pooled")
    assert separated.auc == pytest.approx(np.mean(wins), abs=1e-12)
    # Equal folds: the mean of each fold's AUC.
    each = [
        auc(score.values[k, near], score.values[k, [j for j in far if roles.folds[j] == k]])
        for k in range(3)
    ]
    assert separated.auc == pytest.approx(np.mean(each), abs=1e-12)


def test_independents_of_a_fold_do_not_choose_their_own_references(roles):
    random = np.random.default_rng(4)
    distances = random.normal(size=(len(roles.members), 30))
    before = orders(distances, roles, "independents")
    changed = distances.copy()
    inside = np.flatnonzero(roles.folds == 1)
    changed[inside] = random.normal(size=(len(inside), 30))
    after = orders(changed, roles, "independents")
    assert np.array_equal(before[1], after[1])
    assert not np.array_equal(before[0], after[0])
    # Neither suspects nor models that saw the victim's data choose, in either protocol.
    changed = distances.copy()
    others = np.flatnonzero(roles.folds < 0)
    others = [i for i in others if i not in roles.surrogates]
    changed[others] = random.normal(size=(len(others), 30))
    for ranking in ("independents", "surrogates", "gap"):
        for protocol in ("split", "paper"):
            first, second = (orders(d, roles, ranking, protocol) for d in (distances, changed))
            assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert [len(orders(distances, roles, "gap", p)) for p in ("split", "paper")] == [3, 1]


def test_the_best_candidates_are_found(roles):
    distances = comparisons(roles.members, spread=0.1)
    # Independents are far at candidates 7 and 3, surrogates near at 5 and 3.
    for columns, models, change in (
        ((7, 3), roles.independents, 2.0),
        ((5, 3), roles.surrogates, -2),
    ):
        for rank, column in enumerate(columns):
            distances[models, column] += change * (1 - 0.2 * rank)
    first = {
        ranking: [order[:3].tolist() for order in orders(distances, roles, ranking)]
        for ranking in ("independents", "surrogates", "gap")
    }
    assert all(order[:2] == [7, 3] for order in first["independents"])
    assert all(order[:2] == [5, 3] for order in first["surrogates"])
    assert all(order[0] == 3 and set(order[1:]) == {5, 7} for order in first["gap"])


def test_without_an_effect_only_the_papers_protocol_finds_one():
    """Negatives that chose the references look far at them; those that did not, do not."""
    aucs = {"split": [], "paper": []}
    for seed in range(40):
        members = zoo(architectures=("a",), n_suspects=10, n_independents=10)
        roles = roles_of(members, folds=5, seed=seed)
        distances = comparisons(roles.members, n=200, seed=seed)
        for protocol, found in aucs.items():
            order = orders(distances, roles, "independents", protocol)
            score = mean_over(distances, roles, order, 10)
            near, far = roles.attacks["prune"], roles.independents
            found.append(separation(score, roles, near, far, "architecture").auc)
    assert np.mean(aucs["split"]) == pytest.approx(0.5, abs=0.04)
    assert np.mean(aucs["paper"]) > 0.85


def test_means_are_over_the_best_candidates_and_resampled_around_them(roles):
    distances = comparisons(roles.members, shift=0.5)
    chosen = orders(distances, roles, "gap")
    score = mean_over(distances, roles, chosen, 8)
    assert score.values[2] == pytest.approx(distances[:, chosen[2][:8]].mean(1))
    inside = roles.independents[0]
    assert score.own[inside] == score.values[roles.folds[inside], inside]
    assert score.own[0] == pytest.approx(score.values[:, 0].mean())
    draws = resampled(
        distances, roles, chosen, 8, n_bootstrap=3000, generator=np.random.default_rng(0)
    )
    assert draws.values.shape == (3, len(roles.members), 3000)
    spread = distances[:, chosen[1][:8]].std(1) / 8**0.5
    assert draws.values[1].mean(1) == pytest.approx(score.values[1], abs=0.05)
    assert draws.values[1].std(1) == pytest.approx(spread, rel=0.1)


def test_half_widths_shrink_with_more_references(roles):
    widths = []
    for count in (10, 160):
        distances = comparisons(roles.members, n=160, shift=0.3)
        draws = resampled(
            distances,
            roles,
            orders(distances, roles, None),
            count,
            n_bootstrap=200,
            generator=np.random.default_rng(0),
        )
        widths.append(half_widths(roles, draws)["prune", "auc_matched"])
    assert widths[1] < widths[0] < 0.5


def test_a_combination_is_the_sum_of_standardised_scores(roles):
    random = np.random.default_rng(5)
    parts = [one(roles, random.normal(size=len(roles.members)) + 3) for _ in range(2)]
    combined = combine(parts, roles, min_independents=5)
    suspect = roles.names.index("prune-b0")
    usual = [roles.names.index(f"ind-b{i}") for i in range(12)]
    expected = sum(scipy.stats.zmap(p.own[suspect], p.own[usual], ddof=1) for p in parts)
    assert combined.own[suspect] == pytest.approx(expected.item())
    first, *rest = usual
    expected = sum(scipy.stats.zmap(p.own[first], p.own[rest], ddof=1) for p in parts)
    assert combined.own[first] == pytest.approx(expected.item())


def test_a_combination_takes_the_architecture_out(roles):
    distances = comparisons(roles.members, shift=1.0)
    score = mean_over(distances, roles, orders(distances, roles, None), 40)
    near, far = roles.attacks["prune"], roles.honest
    assert separation(score, roles, near, far, "pooled").auc < 0.8
    assert (
        separation(combine([score], roles, min_independents=5), roles, near, far, "pooled").auc
        > 0.99
    )


def test_an_unknown_method_is_left_out_of_a_combination_for_all_alike():
    members = zoo(architectures=("a",))
    members += [Member(f"t{i}", "suspect", "transfer_all", "a", label_set="t") for i in range(2)]
    members += [Member(f"ti{i}", "independent", "scratch", "a", label_set="t") for i in range(6)]
    roles = roles_of(members, folds=3, seed=0)
    random = np.random.default_rng(6)
    everywhere = random.normal(size=len(roles.members))
    own = np.array([m.label_set == "source" for m in roles.members])
    fields, labels = one(roles, everywhere), one(roles, np.where(own, everywhere**2, np.nan))
    both, alone = (
        combine([fields, labels], roles, min_independents=5),
        combine([fields], roles, min_independents=5),
    )
    assert np.isfinite(both.own).all()
    assert both.own[~own] == pytest.approx(alone.own[~own])
    assert both.own[own] != pytest.approx(alone.own[own])
    found = {(m.subject, m.quantity): m for m in attack_measurements(roles, labels)}
    assert {attack for attack, _ in found} == {"prune"}
    found = {(m.subject, m.quantity): m for m in attack_measurements(roles, fields)}
    # A transfer is compared with independents of its own label set.
    assert found["transfer_all", "n_negatives_pooled"].value == 6
    assert verdict([labels], roles, roles.names.index("t0")) is None


def test_a_p_value_is_taken_among_independents_made_alike(roles):
    distances = comparisons(roles.members, shift=0.2)
    score = mean_over(distances, roles, orders(distances, roles, None), 40)
    suspect = roles.names.index("prune-b1")
    usual = [roles.names.index(f"ind-b{i}") for i in range(12)]
    judged = verdict([score], roles, suspect, min_independents=5)
    assert judged.p_value == conformal_p_value(score.own[suspect], score.own[usual])
    assert (judged.n, judged.matched_by) == (12, "architecture and training")
    judged_by_all = verdict([score], roles, suspect, min_independents=13)
    assert (judged_by_all.n, judged_by_all.matched_by) == (24, "pooled")
    found = suspect_measurements(
        roles, [score], RULES, level=0.05, generator=torch.Generator().manual_seed(0)
    )
    measured = {(m.subject, m.quantity): m for m in found}
    assert measured["prune-b1", "p_value_low"].value <= judged.p_value
    assert measured["prune-b1", "p_value_high"].value >= judged.p_value
    assert {name.split("-")[0] for name, _ in measured} == {"prune", "honest"}
    p, adjusted = (measured["prune-b1", q].value for q in ("p_value", "p_value_holm"))
    assert p == judged.p_value <= adjusted <= 1


def test_with_folds_the_p_value_is_cross_conformal(roles):
    random = np.random.default_rng(7)
    score = Score(random.normal(size=(3, len(roles.members))), roles.folds)
    suspect = roles.names.index("prune-a0")
    usual = [roles.names.index(f"ind-a{i}") for i in range(12)]
    ahead = sum(
        score.values[roles.folds[i], i] <= score.values[roles.folds[i], suspect] for i in usual
    )
    assert verdict([score], roles, suspect).p_value == (1 + ahead) / 13


def test_standardised_calibration_judges_among_all_kinds(roles):
    score = one(roles, comparisons(roles.members, n=1, shift=6.0)[:, 0])
    config = RULES.model_copy(update={"calibration": "standardised"})
    judged = evaluate_model([score], roles, roles.names.index("prune-b0"), config, level=0.05)
    assert (judged.n, judged.p_value, judged.decision) == (24, 1 / 25, "derived")
    assert verdict([score], roles, roles.names.index("prune-b0")).decision == "undecided"


def test_an_adversarially_trained_suspect_is_judged_by_its_like():
    members = zoo(architectures=("a",))
    members.append(Member("robust", "suspect", "extract_adversarial", "a"))
    members += [Member(f"adv{i}", "independent", "adversarial", "a") for i in range(6)]
    roles = roles_of(members, folds=3, seed=0)
    score = one(roles, range(len(roles.members)))
    robust = roles.names.index("robust")
    among = {n: verdict([score], roles, robust, min_independents=n) for n in (5, 7)}
    assert (among[5].n, among[5].matched_by) == (6, "architecture and training")
    assert (among[7].n, among[7].matched_by) == (18, "architecture")
    assert len(honest_groups(roles)["independents, adversarially trained"]) == 6


@pytest.mark.slow
@pytest.mark.parametrize("n_folds", [1, 5])
@pytest.mark.parametrize("n_parts", [1, 3])
@pytest.mark.parametrize("calibration", ["matched", "standardised"])
def test_honest_suspects_are_accused_at_the_level(n_parts, calibration, n_folds):
    """Over many made-up zoos, 5 % of honest suspects are called derived, by one score or more."""
    config = RULES.model_copy(update={"calibration": calibration})
    accused = []
    for seed in range(75):
        roles = roles_of(zoo(n_suspects=1, n_independents=19), folds=5, seed=seed)
        random = np.random.default_rng(seed)
        far = np.array([3.0 * (m.architecture == "b") for m in roles.members])
        common = far + random.normal(size=len(far))
        # Folds choose nearly alike.
        unlike = np.random.default_rng(seed + 1000)
        parts = [
            Score(
                common
                + random.normal(size=len(common))
                + 0.05 * unlike.normal(size=(n_folds, len(common))),
                roles.folds,
            )
            for _ in range(n_parts)
        ]
        for model in honest_groups(roles)["honest suspects"]:
            judged = evaluate_model(parts, roles, model, config, level=0.05)
            accused.append(judged.p_value <= 0.05 + 1e-9)
    assert len(accused) == 300
    assert scipy.stats.binomtest(sum(accused), 300, 0.05).pvalue > 0.01


def test_standardised_independents_are_ranked_among_all_kinds_with_chosen_references_too():
    """Each of 38 independents is the nearest, the second nearest … once: one in 20 is accused."""
    roles = roles_of(zoo(n_independents=19), folds=5, seed=0)
    values = np.random.default_rng(4).normal(size=(5, len(roles.members)))
    parts = [Score(values, roles.folds), Score(values**3, roles.folds)]
    found = honest_measurements(roles, parts, RULES, level=0.05)
    rates = {m.quantity: (m.value, m.n) for m in found if "from scratch" in m.subject}
    assert rates["false_positive_rate_matched"] == (0, 38)
    assert rates["false_positive_rate_standardised"] == (pytest.approx(1 / 38), 38)


def test_honest_models_are_counted_by_what_could_make_them_look_near(roles):
    score = one(roles, [not name.startswith("seen-a") for name in roles.names])
    found = {
        (m.subject, m.quantity): (m.value, m.n)
        for m in honest_measurements(roles, [score], RULES, level=0.2)
    }
    kinds = ("matched", "standardised")
    for group, n in (("honest suspects", 4), ("independents, trained from scratch", 24)):
        assert all(found[group, f"false_positive_rate_{kind}"] == (0, n) for kind in kinds)
    seen = found["trained on the victim's data", "false_positive_rate_matched"]
    assert seen == (0.5, 4)  # those of architecture a are nearer than every independent


def test_scores_are_named_and_computed_as_configured(roles):
    references = ReferencesConfig(sources=("random", "cutmix"), pool=20, count=8)
    evaluation = EvaluationConfig(
        per_reference_methods=("field", "labels"),
        set_methods=("cka",),
        ranked=("field",),
        combinations=(
            CombinationConfig(name="both", scores=("field@random/gap", "labels@cutmix")),
        ),
        verdict="both",
        curve=(4, 8, 16, 32),
        folds=3,
        n_bootstrap=20,
    )
    names = [str(name) for name in score_names(references, evaluation)]
    assert names == [
        "field@random",
        "field@random/independents",
        "field@random/independents/paper",
        "field@random/surrogates",
        "field@random/gap",
        "field@random/gap/paper",
        "field@cutmix",
        "field@cutmix/independents",
        "field@cutmix/independents/paper",
        "field@cutmix/surrogates",
        "field@cutmix/gap",
        "field@cutmix/gap/paper",
        "labels@random",
        "labels@cutmix",
        "cka@random",
    ]
    check_scores(references, evaluation, has_surrogates=True)
    ids = [f"{s}/{i}" for s in ("random", "cutmix") for i in range(20)]
    distances = {m: comparisons(roles.members, n=40, shift=0.4, seed=i) for i, m in enumerate("fl")}
    each = [
        Comparison({"field": fields, "labels": labels}, {"cka@random": float(i)})
        for i, (fields, labels) in enumerate(zip(distances["f"], distances["l"], strict=True))
    ]
    table = side_by_side(each, ids, ("field", "labels"), ("cka@random",))
    scores = Scores(table, roles, references, evaluation)
    cutmix = scores.single[ScoreName("labels", "cutmix")]
    assert cutmix.own == pytest.approx(distances["l"][:, 20:28].mean(1))
    assert scores.single[ScoreName("cka", "random")].own == pytest.approx(np.arange(len(each)))
    measured = dict(scores.attacks(np.random.default_rng(0)))
    assert set(measured) == {*names, "both"}
    curves = dict(scores.curves())
    sizes = {m.quantity for m in curves["field@random/gap"]}
    assert sizes == {f"auc_matched_with_{n}" for n in (4, 8, 16)}
    at_8 = [m.value for m in curves["field@random/gap"] if m.quantity.endswith("_8")]
    expected = [m for m in measured["field@random/gap"] if m.quantity == "auc_matched"]
    assert at_8 == [expected[0].value]
    assert 0 < expected[0].spread < 0.5


def test_a_combination_of_unknown_scores_is_refused():
    references = ReferencesConfig(sources=("random",))
    with pytest.raises(ValueError, match="labels@misclassified is not a score"):
        check_scores(references, EvaluationConfig(), has_surrogates=True)
    with pytest.raises(ValueError, match=r"evaluation.verdict: feld@random.*field@random"):
        misspelt = EvaluationConfig(combinations=(), verdict="feld@random")
        check_scores(references, misspelt, has_surrogates=True)
    with pytest.raises(ValueError, match="need models of role surrogate"):
        check_scores(ReferencesConfig(), EvaluationConfig(), has_surrogates=False)


EARLIER = {
    "per_reference_methods": ("means", ["field", "labels"]),
    "set_methods": ("wholes", ["cka"]),
    "set_sources": ("whole_sources", ["cutmix"]),
    "min_independents": ("fewest", 7),
    "n_bootstrap": ("resamples", 9),
}


@pytest.mark.parametrize("name", EARLIER)
def test_settings_may_be_called_by_their_earlier_keys(name):
    earlier, value = EARLIER[name]
    ranked = {"ranked": ["field"]}
    new, old = (
        EvaluationConfig.model_validate_json(json.dumps({key: value} | ranked))
        for key in (name, earlier)
    )
    assert new == old != EvaluationConfig(ranked=("field",))
    # The digest of a configuration is that of the earlier key.
    assert config_hash(new) == config_hash(old)
    assert earlier in new.model_dump()
    assert name not in new.model_dump()
    path = f"{CONFIGS}/smoke.yaml"
    with pytest.raises(ConfigError, match=f"{earlier}: this key and {name} are names of one"):
        load_config(IPPConfig, path, [f"evaluation.{k}={value}" for k in (name, earlier)])


@pytest.mark.parametrize(
    ("path", "digest"),
    [
        (f"{CONFIGS}/cuda.yaml", "01e588cdea"),
        (f"{CONFIGS}/demo.yaml", "913d4e7a79"),
        (f"{CONFIGS}/paper.yaml", "e05235c98c"),
        (f"{CONFIGS}/small.yaml", "9ef77b5077"),
        ("intellectual_property_protection/results/small/seed1/config.yaml", "d641f36453"),
    ],
)
def test_the_digests_of_configurations_with_results_stay(path, digest):
    assert config_hash(load_config(IPPConfig, path)) == digest

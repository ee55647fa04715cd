from dataclasses import replace

import numpy as np
import pytest

from modelgif.verdict.calibration_set import (
    CalibrationSet,
    ModelFacts,
    examine_calibration_set,
    origin_p_value,
)
from modelgif.verdict.conformal import conformal_p_value


def answers(name: str, seed: int, **more) -> ModelFacts:
    scores = np.random.default_rng(seed).normal(size=(32, 6))
    facts = {"weights_sha256": f"sha-{name}", "labels": scores.argmax(1), "scores": scores}
    return ModelFacts(name, **(facts | {"norm_updates": (100, 100), "accuracy": 0.9} | more))


VICTIM = answers("mine", 0)
SUSPECT = answers("theirs", 1)
HONEST = [answers(f"honest-{i}", 10 + i) for i in range(19)]


def examine(independents: list[ModelFacts], *, victim=VICTIM, suspects=(SUSPECT,), **options):
    return examine_calibration_set(victim, suspects, independents, **options)


def test_independents_of_their_own_are_all_kept() -> None:
    found = examine(HONEST)
    assert found == CalibrationSet(
        tuple(m.name for m in HONEST), tuple(m.name for m in HONEST), {}, (), ()
    )
    assert found.n_origins == 19


def scored(model: ModelFacts, change, **more) -> ModelFacts:
    scores = change(np.asarray(model.scores))
    return replace(model, scores=scores, labels=scores.argmax(1), **more)


RNG = np.random.default_rng(99)
SAME = {
    "the same scores": lambda s: s,
    "one vector added to every row of the head": lambda s: s + 3 * RNG.normal(size=(32, 1)),
    "logarithm of softmax": lambda s: s - np.log(np.exp(s).sum(1, keepdims=True)),
    "a temperature": lambda s: s / 10,
    "classes permuted": lambda s: s[:, [3, 1, 5, 0, 2, 4]],
    "all of it": lambda s: (s[:, ::-1] + RNG.normal(size=(32, 1))) * 4,
    "weights in half precision": lambda s: s + 1e-3 * RNG.normal(size=s.shape),
}


@pytest.mark.parametrize("change", SAME)
def test_copies_by_answers_count_once(change: str) -> None:
    copies = [
        scored(HONEST[0], SAME[change], name=f"copy-{i}", weights_sha256=f"other-{i}")
        for i in range(18)
    ]
    found = examine([HONEST[0], *copies])
    assert found.kept == ("honest-0",)
    assert found.n_origins == 1
    assert len(found.dropped) == 18
    assert found.dropped["copy-3"].startswith("gives the answers of honest-0, up to")
    assert found.dropped["copy-3"].endswith("give other models in its place.")
    assert found.warnings[0].startswith("18 of 19 independent models are left out")


@pytest.mark.parametrize("change", SAME)
def test_wrapped_victims_and_suspects_are_no_independents(change: str) -> None:
    victim, suspect = (
        scored(model, SAME[change], name=f"a copy of {model.name}", weights_sha256="")
        for model in (VICTIM, SUSPECT)
    )
    found = examine([victim, suspect, *HONEST])
    assert len(found.kept) == 19
    assert found.dropped["a copy of mine"].startswith("gives the victim's answers")
    assert found.dropped["a copy of theirs"].startswith("is the suspect theirs, and cannot speak")


def test_models_that_differ_by_more_are_no_copies() -> None:
    near = scored(HONEST[0], lambda s: s + 0.1 * RNG.normal(size=s.shape), name="near")
    found = examine([HONEST[0], replace(near, weights_sha256="near")])
    assert found.dropped == {}


def test_equal_labels_alone_make_no_copy() -> None:
    # Good models of an easy task agree everywhere.
    easy = [replace(m, labels=np.arange(32) % 6, scores=None) for m in HONEST]
    assert examine(easy).dropped == {}


def test_copies_by_weights_count_once() -> None:
    found = examine([ModelFacts(f"file-{i}", "one-digest") for i in range(19)])
    assert found.kept == ("file-0",)
    assert found.dropped["file-7"].startswith("has the weights of file-0, and counts once")


KIN = [
    ({"weights_sha256": "sha-mine"}, "is the victim itself (the same weights)"),
    ({"parent_sha256": "sha-mine"}, "was made from the victim, as its card says"),
    ({"parent": "mine"}, "was made from the victim, as its card says"),
    ({"parent": "honest-1"}, "was made from the victim, as its card says"),
    ({"shares_origin_with_victim": True}, "descends from the same random start as the victim"),
    ({"weights_sha256": "sha-theirs"}, "is the suspect theirs"),
]


@pytest.mark.parametrize(("facts", "reason"), KIN)
def test_kin_of_the_victim_is_left_out_by_name(facts: dict, reason: str) -> None:
    grandchild = [replace(HONEST[1], parent_sha256="sha-mine")] if "honest-1" in str(facts) else []
    found = examine([replace(HONEST[0], **facts), *grandchild, *HONEST[2:]])
    assert found.dropped["honest-0"].startswith(reason)
    assert "eave it out" in found.dropped["honest-0"]
    assert len(found.kept) == 17


def test_the_victims_parents_and_siblings_are_left_out() -> None:
    victim = replace(VICTIM, parent="base", parent_sha256="sha-base")
    base, sibling = answers("base", 50), answers("sibling", 51, parent_sha256="sha-base")
    found = examine([base, sibling, *HONEST], victim=victim)
    assert found.dropped["base"].startswith("is what the victim was made from")
    assert found.dropped["sibling"].startswith("was made from base, as the victim was")
    assert "name it as the common ancestor" in found.dropped["sibling"]
    # Where the parent is not here, by the name on both cards.
    public = {"parent": "torchvision:resnet18"}
    one = replace(HONEST[0], **public)
    found = examine([one, *HONEST[1:]], victim=replace(VICTIM, **public))
    assert "torchvision:resnet18, as the victim was" in found.dropped["honest-0"]


@pytest.mark.parametrize("key", ["parent", "parent_sha256"])
def test_children_of_a_common_ancestor_are_origins_of_their_own(key: str) -> None:
    public = {key: "public"}
    victim, suspect = replace(VICTIM, **public), replace(SUSPECT, **public)
    children = [replace(m, shares_origin_with_victim=True, **public) for m in HONEST]
    grandchildren = [answers(f"again-{i}", 70 + i, parent="honest-2") for i in range(3)]
    grandchildren = [replace(m, shares_origin_with_victim=True) for m in grandchildren]
    found = examine(
        [*children, *grandchildren], victim=victim, suspects=[suspect], ancestor="public"
    )
    assert found.dropped == {}
    assert found.strangers == ()
    assert found.n_origins == 19
    assert found.origins[-3:] == ("honest-2",) * 3
    assert found.warnings == (
        "22 independent models have 19 origins (4 from honest-2), and each origin counts once. "
        "Give independents that were made from other models, or from scratch.",
    )


def test_independents_that_start_elsewhere_are_strangers_to_kin() -> None:
    suspect = replace(SUSPECT, shares_origin_with_victim=True)
    far = [replace(m, shares_origin_with_victim=False) for m in HONEST]
    found = examine(far, suspects=[suspect])
    assert found.strangers == tuple(m.name for m in HONEST)
    assert "theirs and the victim mine descend from one start, and 19 of 19" in found.warnings[0]
    assert "name it as the common ancestor" in found.warnings[0]
    assert examine(far).strangers == ()
    # Where an ancestor is named, whoever does not name it is one.
    public = {"parent": "public"}
    mixed = [replace(HONEST[0], **public), *HONEST[1:]]
    found = examine(mixed, victim=replace(VICTIM, **public), ancestor="public")
    assert found.strangers == tuple(m.name for m in HONEST[1:])
    assert "18 of 19 independents are not known to" in found.warnings[0]


def constant(name: str, seed: int) -> ModelFacts:
    """As untrained networks answer: one class, up to little."""
    scores = np.random.default_rng(seed).normal(size=(1, 6)) + 0.03 * RNG.normal(size=(32, 6))
    return ModelFacts(name, f"sha-{name}", labels=scores.argmax(1), scores=scores)


def test_untrained_models_are_left_out_though_all_are() -> None:
    found = examine([constant(f"fresh-{i}", i) for i in range(19)])
    assert found.kept == ()
    assert set(found.dropped) == {f"fresh-{i}" for i in range(19)}
    assert all("give trained models" in reason for reason in found.dropped.values())


UNTRAINED = [
    ({"norm_updates": (0, 0)}, "was never trained (its BatchNorm counters are 0"),
    ({"labels": np.zeros(32, int)}, "gives one class at 100% of the references"),
    ({"scores": constant("", 3).scores}, "hardly looks at the image (it explains"),
    ({"accuracy": 0.1}, "is right on 10% of the images, and the victim on 90%"),
]


@pytest.mark.parametrize(("facts", "reason"), UNTRAINED)
def test_what_shows_a_model_untrained(facts: dict, reason: str) -> None:
    found = examine([replace(HONEST[0], **facts), *HONEST[1:]])
    assert found.dropped["honest-0"].startswith(reason)
    assert len(found.kept) == 18


@pytest.mark.parametrize(
    "facts",
    [
        {"labels": np.ones(32, int)},
        {"scores": constant("", 5).scores},
        {"scores": np.ones((32, 6))},
        {"accuracy": 0.15},
    ],
)
def test_a_victim_like_that_makes_it_no_reason(facts: dict) -> None:
    unlike = {"labels": np.zeros(32, int), "scores": constant("", 3).scores, "accuracy": 0.1}
    one = replace(HONEST[0], **{key: unlike[key] for key in facts})
    assert "honest-0" not in examine([one, *HONEST[1:]]).kept
    found = examine([one, *HONEST[1:]], victim=replace(VICTIM, **facts))
    assert found.dropped == {}


def test_counters_that_nobody_has_are_no_reason() -> None:
    victim, suspect, *rest = (replace(m, norm_updates=(0, 0)) for m in (VICTIM, SUSPECT, *HONEST))
    assert examine(rest, victim=victim, suspects=[suspect]).dropped == {}


def test_models_of_one_parent_are_one_origin() -> None:
    parted = [replace(m, parent="a" if i < 10 else "b") for i, m in enumerate(HONEST)]
    found = examine(parted)
    assert found.origins == ("a",) * 10 + ("b",) * 9
    assert "19 independent models have 2 origins (10 from a, 9 from b)" in found.warnings[0]


def test_a_parent_among_the_independents_is_of_its_childrens_origin() -> None:
    found = examine([HONEST[0], replace(HONEST[1], parent_sha256="sha-honest-0"), *HONEST[2:]])
    assert found.origins[:2] == ("honest-0", "honest-0")
    assert found.n_origins == 18


def test_models_that_share_a_start_are_one_origin() -> None:
    kin = frozenset({"honest-1", "honest-2", "unknown"})
    found = examine([replace(HONEST[0], shares_origin_with=kin), *HONEST[1:]])
    assert found.n_origins == 17
    assert len(set(found.origins[:3])) == 1


def test_cards_that_go_in_circles_are_followed_once() -> None:
    a, b = replace(HONEST[0], parent="honest-1"), replace(HONEST[1], parent="honest-0")
    itself = replace(HONEST[2], parent="honest-2")
    assert set(examine([a, b, itself]).kept) == {"honest-0", "honest-1", "honest-2"}


@pytest.mark.parametrize(
    ("independents", "message"),
    [
        ([], "at least one independent model, got none"),
        ([HONEST[0], HONEST[0]], "names must be unique, got 'honest-0' more than once"),
        ([replace(HONEST[0], labels=[1, 2])], "at the same references, got 2 and 32 of them"),
    ],
)
def test_what_cannot_be_examined(independents: list[ModelFacts], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        examine(independents)


# The p-value among origins.


def test_without_common_origins_it_is_the_conformal_p_value() -> None:
    known = np.random.default_rng(0).normal(size=19)
    origins = [str(i) for i in range(19)]
    for distance in (-3.0, 0.0, known[4], 3.0):
        assert origin_p_value(distance, known, origins) == conformal_p_value(distance, known)


def test_copies_have_one_voice() -> None:
    assert origin_p_value(0.1, [0.2] * 19, ["one"] * 19) == 1 / 2
    assert origin_p_value(0.1, [0.2] * 38, [str(i // 2) for i in range(38)]) == 1 / 20


def test_each_origin_speaks_by_its_nearest() -> None:
    assert origin_p_value(0.2, [0.1, 0.9, 0.3], ["a", "a", "b"]) == 2 / 3


def test_the_suspects_own_kin_has_no_voice() -> None:
    known, origins = [0.1, 0.1, 0.3, 0.4], ["a", "a", "b", "c"]
    assert origin_p_value(0.2, known, origins, suspect_origin="a") == 1 / 3
    with pytest.raises(ValueError, match="shares the suspect's origin: give independents of"):
        origin_p_value(0.2, [0.1], ["a"], suspect_origin="a")


@pytest.mark.slow
@pytest.mark.parametrize("within", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("own", [False, True])
def test_the_level_is_kept_whatever_models_of_an_origin_have_in_common(
    within: float, own: bool
) -> None:
    draw = np.random.default_rng(1)
    trials, found, naive = 1500, [], []
    for _ in range(trials):
        sizes = draw.integers(1, 8, size=20)
        groups = [draw.normal() + within * draw.normal(size=size) for size in sizes]
        # An honest suspect is a model of an origin of its own, whose others may be here.
        distance = groups[-1][0]
        rest = [*groups[:-1], groups[-1][1:]] if own else groups[:-1]
        origins = [str(i) for i, group in enumerate(rest) for _ in group]
        known = np.concatenate(rest)
        found.append(origin_p_value(distance, known, origins, suspect_origin="19"))
        naive.append(conformal_p_value(distance, known))
    # Three standard deviations of the share.
    for level in (0.05, 0.1, 0.25):
        assert np.mean(np.array(found) <= level) <= level + 3 * np.sqrt(level / trials)
    if not within and not own:
        assert np.mean(np.array(found) <= 0.05) > 0.035
        assert np.mean(np.array(naive) <= 0.02) > 0.03


@pytest.mark.parametrize(
    ("known", "origins", "message"),
    [
        ([0.1, 0.2], ["a"], r"one origin per independent model, got 1 for distances \[2\]"),
        ([0.1, np.nan], ["a", "b"], "expected finite distances"),
        ([], [], "every independent model shares"),
    ],
)
def test_refused_distances(known: list[float], origins: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        origin_p_value(0.2, known, origins)

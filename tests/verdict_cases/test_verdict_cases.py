"""Cases in which a verdict was once wrong without a word, and their siblings.

Each ends in the right answer, or in an undecided one with the reason, and never accuses an honest
model or clears a stolen one silently.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from modelgif.lineage import permuted_units
from modelgif.references.references import References
from modelgif.trial.hold import hold_trial
from modelgif.trial.trial import Trial
from tests.support.verdict_zoo import OTHERS as OTHER_DATA
from tests.support.verdict_zoo import REFERENCES, Zoo, digits, fresh, part, trained
from tests.verdict_cases import wrappers as w

N_REFERENCES = 64
pytestmark = pytest.mark.slow
Models = Mapping[str, nn.Module]


@pytest.fixture(scope="session")
def zoo() -> Zoo:
    return Zoo()


def references(n: int = N_REFERENCES) -> References:
    images = digits()[0][REFERENCES][:n]
    return References(images, tuple(f"digit{i}" for i in range(len(images))))


def many(models: list[nn.Module], name: str = "i") -> Models:
    return {f"{name}{number}": model for number, model in enumerate(models)}


@dataclass(frozen=True)
class Case:
    """One trial.

    Attributes:
        name: what is tried.
        suspects: made from the zoo.
        answers: that each suspect may be given.
        says: texts that must be said, in notes, reasons or what would settle it.
        independents: made from the zoo; nineteen honest models from scratch by default.
        victim: made from the zoo; the private one by default.
        options: of the trial, made from the zoo.
    """

    name: str
    suspects: Callable[[Zoo], Models]
    answers: Mapping[str, str | tuple[str, ...]]
    says: tuple[str, ...] = ()
    independents: Callable[[Zoo], Models] = lambda z: many(z.independents)
    victim: Callable[[Zoo], nn.Module] = lambda z: z.victim
    options: Callable[[Zoo], dict[str, Any]] = field(default=lambda z: {})


def stolen(wrap: Callable[..., nn.Module], *, other: bool = False) -> Callable[[Zoo], Models]:
    """A fine-tuned copy of the victim, wrapped."""
    return lambda z: {"thief": wrap(z.fine_tuned(z.victim), *([z.honest(40)] if other else []))}


def honest(z: Zoo) -> Models:
    return {"honest": z.honest(30)}


def own(z: Zoo) -> dict[str, Any]:
    return {"own_initialisation": True}


def nobody(z: Zoo) -> Models:
    return {}


def from_public(z: Zoo) -> Models:
    return many(z.public_independents, "p")


def ancestor(z: Zoo) -> dict[str, Any]:
    return {"ancestors": {"public": z.public}}


NOT_CLEARED = ("derived", "common origin", "undecided")
NOT_ACCUSED = ("independent", "undecided", "common origin")

CASES = [
    # Accusing the honest.
    Case(
        "honest models of a common public backbone, independents from scratch",
        lambda z: {f"h{i}": z.public_honest(30 + i) for i in range(3)},
        {f"h{i}": "common origin" for i in range(3)},
        ("--ancestor", "descend from one start"),
        victim=lambda z: z.public_victim,
    ),
    Case(
        "honest models of a named ancestor, independents of it",
        lambda z: {"honest": z.public_honest(30)},
        {"honest": ("independent", "common origin")},
        independents=from_public,
        victim=lambda z: z.public_victim,
        options=ancestor,
    ),
    Case(
        "a named ancestor without independents of it",
        lambda z: {"thief": z.fine_tuned(z.public_victim), "honest": z.public_honest(30)},
        {"thief": "common origin", "honest": "common origin"},
        ("everybody who started from the public ancestor", "modelgif independents"),
        victim=lambda z: z.public_victim,
        options=ancestor,
    ),
    Case(
        "nineteen copies of one honest model",
        honest,
        {"honest": "undecided"},
        ("has the weights of i0, and counts once", "too few to compare with"),
        independents=lambda z: many([z.honest(0)] * 19),
    ),
    Case(
        "nineteen heads of one honest model, each shifted",
        honest,
        {"honest": "undecided"},
        ("gives the answers of i0", "too few to compare with"),
        independents=lambda z: many([w.shifted_head(z.honest(0), seed=100 + i) for i in range(19)]),
    ),
    Case(
        "untrained independents",
        honest,
        {"honest": "undecided"},
        ("was never trained (its BatchNorm counters are 0",),
        independents=lambda z: many([fresh(970_001 + i).eval() for i in range(19)]),
    ),
    Case(
        "one reference",
        honest,
        {"honest": "undecided"},
        ("1 distinct references are too few for a decision",),
        options=lambda z: {"references": references(1)},
    ),
    Case(
        "one image under many names",
        honest,
        {"honest": "undecided"},
        ("a copy of digit0", "too few for a decision"),
        options=lambda z: {
            "references": References(
                references(1).images.repeat(64, 1, 1, 1), tuple(f"digit{i}" for i in range(64))
            )
        },
    ),
    Case(
        "references that equal the baseline",
        lambda z: {"thief": z.fine_tuned(z.victim)},
        {"thief": ("common origin", "undecided")},
        ("equal to the baseline",),
        options=lambda z: {
            "references": References(torch.full((20, 1, 8, 8), 0.3), tuple(map(str, range(20))))
        },
    ),
    Case(
        "images of one colour",
        lambda z: {"extracted": z.extracted(z.victim)},
        {"extracted": "undecided"},
        ("of one colour",),
        options=lambda z: {
            "references": References(
                torch.linspace(0.4, 1, 20).reshape(-1, 1, 1, 1).repeat(1, 1, 8, 8),
                tuple(map(str, range(20))),
            )
        },
    ),
    Case("an honest model", honest, {"honest": ("independent", "undecided")}),
    Case(
        "an honest model and no independents, private start",
        honest,
        {"honest": "undecided"},
        ("no evidence of innocence", "modelgif independents"),
        independents=nobody,
        options=own,
    ),
    Case(
        "an honest model of another architecture, no independents",
        lambda z: {"honest": trained(fresh(960_001, width=7), *part(OTHER_DATA, 77), seed=77)},
        {"honest": "undecided"},
        independents=nobody,
        options=own,
    ),
    Case(
        "two honest parties of one seed, though the owner states a private start",
        lambda z: {"honest": trained(fresh(42), *part(OTHER_DATA, 78), seed=78)},
        {"honest": "common origin"},
        ("that of the seed 42", "a common seed"),
        independents=nobody,
        victim=lambda z: trained(fresh(42), *part(OTHER_DATA, 79), seed=79),
        options=lambda z: own(z) | {"build": _small},
    ),
    Case(
        "an ancestor named against the statement of a private start",
        lambda z: {"honest": z.public_honest(30)},
        {"honest": NOT_ACCUSED},
        ("that is left aside",),
        independents=nobody,
        victim=lambda z: z.public_victim,
        options=lambda z: own(z) | ancestor(z),
    ),
    # Finding the thief.
    Case(
        "a fine-tuned copy, private start, no independents",
        lambda z: {"thief": z.fine_tuned(z.victim)},
        {"thief": "derived"},
        ("hidden units are the victim's", "Common seeds were not tried"),
        independents=nobody,
        options=own,
    ),
    Case(
        "a fine-tuned copy of the victim of a public ancestor",
        lambda z: {"thief": z.fine_tuned(z.public_victim)},
        {"thief": "derived"},
        independents=from_public,
        victim=lambda z: z.public_victim,
        options=ancestor,
    ),
    Case(
        "an extracted network",
        lambda z: {"extracted": z.extracted(z.victim)},
        {"extracted": "derived"},
    ),
    Case("a pruned copy", stolen(w.pruned), {"thief": "derived"}, independents=nobody, options=own),
    Case(
        "a copy in bfloat16",
        stolen(w.in_half_precision),
        {"thief": "derived"},
        independents=nobody,
        options=own,
    ),
    Case(
        "a copy with permuted hidden units evades the origin, and is not cleared by that",
        lambda z: {"thief": permuted_units(z.fine_tuned(z.victim), seed=5)},
        {"thief": "undecided"},
        ("no evidence of innocence",),
        independents=nobody,
        options=own,
    ),
    Case(
        "a copy with permuted hidden units among independents",
        lambda z: {"thief": permuted_units(z.fine_tuned(z.victim), seed=5)},
        {"thief": "derived"},
    ),
    Case(
        "a shifted head of permuted units",
        lambda z: {"thief": w.shifted_head(permuted_units(z.fine_tuned(z.victim), seed=5))},
        {"thief": "derived"},
    ),
    Case("a shifted head", stolen(w.shifted_head), {"thief": "derived"}, options=own),
    Case(
        "softmax at the end of permuted units",
        lambda z: {"thief": w.softmax(permuted_units(z.fine_tuned(z.victim), seed=5))},
        {"thief": "derived"},
        ("gives probabilities",),
    ),
    Case(
        "log-softmax at the end of permuted units",
        lambda z: {"thief": w.log_softmax(permuted_units(z.fine_tuned(z.victim), seed=5))},
        {"thief": "derived"},
    ),
    Case(
        "a temperature",
        lambda z: {"thief": w.hotter(permuted_units(z.fine_tuned(z.victim), seed=5))},
        {"thief": "derived"},
    ),
    Case(
        "classes in another order",
        lambda z: {"thief": w.permuted_classes(permuted_units(z.fine_tuned(z.victim), seed=5))},
        {"thief": "derived"},
        ("its classes come in another order",),
    ),
    Case(
        "one-hot answers",
        lambda z: {"thief": w.one_hot(permuted_units(z.fine_tuned(z.victim), seed=5))},
        {"thief": NOT_CLEARED},
        ("answers with 0 and 1 alone",),
    ),
    Case(
        "rounded answers",
        lambda z: {"thief": w.rounded(permuted_units(z.fine_tuned(z.victim), seed=5))},
        {"thief": NOT_CLEARED},
        ("rounded answers|gradients|cells of its field are zero",),
    ),
    # Independents that are none.
    Case(
        "independents whose cards name the victim",
        lambda z: {"extracted": z.extracted(z.victim)},
        {"extracted": NOT_CLEARED},
        ("was made from the victim, as its card says",),
        options=lambda z: {"parents": {f"i{n}": "victim" for n in range(10)}},
    ),
    Case(
        "the victim among the independents",
        lambda z: {"extracted": z.extracted(z.victim)},
        {"extracted": "derived"},
        ("is the victim itself",),
        independents=lambda z: many([*z.independents, z.victim]),
    ),
    Case(
        "the suspect among the independents",
        lambda z: {"extracted": z.extracted(z.victim)},
        {"extracted": "derived"},
        ("is the suspect extracted",),
        independents=lambda z: many([*z.independents, z.extracted(z.victim)]),
    ),
    Case(
        "kin of the victim among the independents",
        lambda z: {"extracted": z.extracted(z.victim)},
        {"extracted": "derived"},
        ("descends from the same random start as the victim",),
        independents=lambda z: many([*z.independents, z.fine_tuned(z.victim, seed=11)]),
    ),
    # Gradients that are not those of the answers.
    *(
        Case(
            name,
            lambda z, wrap=wrap, other=other: {
                "thief": wrap(
                    permuted_units(z.fine_tuned(z.victim), seed=5),
                    *([z.honest(40)] if other else []),
                )
            },
            {"thief": NOT_CLEARED},
            says,
        )
        for name, wrap, other, says in [
            ("invented gradients", w.invented_gradients, False, ("gradients",)),
            ("another network's gradients", w.straight_through, True, ("gradients",)),
            ("random gradients", w.random_gradients, False, ("gradients|other answers",)),
            ("gradients off at low contrast", w.off_where_contrast_is_low, False, ("gradients",)),
            ("gradients off where asked", w.off_where_gradients_are_asked, False, ("gradients",)),
            ("another model off the data", w.another_off_the_data, True, ("gradients",)),
            (
                "another model while gradients are on",
                w.another_while_gradients_are_on,
                True,
                ("gradients",),
            ),
            ("integer weights that drop the gradient", w.dynamic_int8, False, ("gradient",)),
        ]
    ),
    # Losing the trial.
    Case(
        "one suspect is not finite at low contrast, the other is judged",
        lambda z: {
            "bad": w.not_finite_at_low_contrast(z.honest(31)),
            "extracted": z.extracted(z.victim),
        },
        {"bad": ("undecided", "independent"), "extracted": NOT_CLEARED},
        options=lambda z: {"level": 0.1},
    ),
    Case(
        "one suspect has one class more, the other is judged",
        lambda z: {
            "more": trained(fresh(960_002, n_classes=11), *part(OTHER_DATA, 80), seed=80),
            "extracted": z.extracted(z.victim),
        },
        {"more": ("independent", "undecided"), "extracted": "derived"},
        options=lambda z: {"level": 0.1},
    ),
    Case(
        "four independents with other numbers of classes",
        honest,
        {"honest": "undecided"},
        independents=lambda z: many(
            [
                trained(fresh(960_010 + i, n_classes=11 + i), *part(OTHER_DATA, 81 + i), seed=i)
                for i in range(4)
            ]
        ),
    ),
    Case(
        "a suspect whose own code raises",
        lambda z: {"bad": w.raising(z.honest(31)), "extracted": z.extracted(z.victim)},
        {"bad": "undecided", "extracted": "derived"},
        ("KeyError: 'logits'",),
        options=lambda z: {"level": 0.1},
    ),
    Case(
        "a suspect that cannot be loaded",
        lambda z: {"bad": _not_there, "extracted": z.extracted(z.victim)},
        {"bad": "undecided", "extracted": "derived"},
        ("cannot be loaded: no such file",),
        options=lambda z: {"level": 0.1},
    ),
    Case(
        "an independent whose own code raises",
        lambda z: {"extracted": z.extracted(z.victim)},
        {"extracted": "derived"},
        ("KeyError: 'logits'",),
        independents=lambda z: many([*z.independents, w.raising(z.honest(31))]),
    ),
    # No functions.
    *(
        Case(name, lambda z, wrap=wrap: {"bad": wrap(z.honest(31))}, {"bad": "undecided"}, says)
        for name, wrap, says in [
            ("dropout in evaluation", w.dropping, ("dropout or other randomness",)),
            ("answers that depend on the batch", w.centred_in_the_batch, ("in another batch",)),
            ("batch statistics in evaluation", w.batch_statistics, ("running statistics",)),
        ]
    ),
    Case(
        "a thief with dropout in evaluation is found by its weights",
        stolen(w.dropping),
        {"thief": "derived"},
        ("dropout or other randomness",),
        independents=nobody,
        options=own,
    ),
]


def _small(num_classes: int | None = None) -> nn.Module:
    from tests.support.verdict_zoo import Small

    return Small() if num_classes is None else Small(num_classes)


def _not_there() -> nn.Module:
    raise FileNotFoundError("no such file")


def held(case: Case, zoo: Zoo) -> Trial:
    options = dict(case.options(zoo))
    at = options.pop("references", references())
    return hold_trial(
        ("victim", case.victim(zoo)),
        case.suspects(zoo),
        case.independents(zoo),
        at,
        **({"baseline": 0.3, "n_steps": 4, "n_bootstrap": 50} | options),
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "_"))
def test_case(case: Case, zoo: Zoo) -> None:
    trial = held(case, zoo)
    said = " ".join(
        [*trial.notes]
        + [text for j in trial.judgements for text in (j.because, j.would_settle, *j.notes)]
    )
    found = {j.suspect: j.answer for j in trial.judgements}
    assert set(found) == set(case.answers)
    for suspect, allowed in case.answers.items():
        assert found[suspect] in ((allowed,) if isinstance(allowed, str) else allowed), said
    for text in case.says:
        assert any(part in said for part in text.split("|")), said


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 40
    assert len({case.name for case in CASES}) == len(CASES)


def test_no_suspect_is_a_wrong_call() -> None:
    with pytest.raises(ValueError, match="at least one suspect"):
        hold_trial(("a", nn.Identity()), {}, {}, references())


def test_a_victim_that_is_no_function_is_refused_by_name(zoo: Zoo) -> None:
    with pytest.raises(ValueError, match="victim: gives other answers to the same images"):
        hold_trial(("victim", w.dropping(zoo.victim)), honest(zoo), {}, references())


def test_models_are_left_as_they_were(zoo: Zoo) -> None:
    models = [copy.deepcopy(zoo.victim).train(), copy.deepcopy(zoo.honest(30)).train()]
    before = [copy.deepcopy(model.state_dict()) for model in models]
    hold_trial(("v", models[0]), {"s": models[1]}, {}, references(), n_steps=2)
    for model, state in zip(models, before, strict=True):
        assert model.training
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
        assert all(p.requires_grad and p.grad is None for p in model.parameters())

import math

import pytest

from modelgif.verdict.evidence import ORIGIN_LEVEL, Line, origin_line, power_of_ten, ranked_line
from modelgif.verdict.settlement import settle

FOUND = origin_line(-143.0, matched="120 of 120 hidden units match")
NONE = origin_line(-0.2, matched="2 of 120 hidden units match")
OTHER = origin_line(None, missing="the architectures differ")
NO_CHANGES = ranked_line("changes", None, "no ancestor was named")
NO_INDEPENDENTS = ranked_line("field and labels", None, "no independent model was given")


def ranked(name, decision) -> Line:
    return ranked_line(name, decision, f"it is {decision}", p_value=0.05)


def function(decision) -> Line:
    return NO_INDEPENDENTS if decision is None else ranked("field and labels", decision)


def change(decision) -> Line:
    return NO_CHANGES if decision is None else ranked("changes", decision)


@pytest.mark.parametrize(
    ("origin", "start", "changes", "by_function", "answer"),
    [
        (FOUND, "own", None, None, "derived"),
        # A function that looks independent is no defence for the victim's own hidden units.
        (FOUND, "own", None, "independent", "derived"),
        (FOUND, "unknown", None, None, "common origin"),
        (FOUND, "common seed", None, None, "common origin"),
        (FOUND, "ancestor", None, None, "common origin"),
        (FOUND, "ancestor", "derived", "undecided", "derived"),
        (FOUND, "ancestor", "independent", None, "independent"),
        (FOUND, "ancestor", "undecided", None, "common origin"),
        # Changes decide alone where they were asked, so that the level is that of one test.
        (FOUND, "ancestor", "undecided", "derived", "common origin"),
        (FOUND, "ancestor", "independent", "derived", "independent"),
        (FOUND, "ancestor", None, "derived", "derived"),
        (FOUND, "unknown", None, "derived", "derived"),
        (FOUND, "unknown", None, "independent", "independent"),
        (FOUND, "unknown", None, "undecided", "common origin"),
        (FOUND, "common seed", None, "derived", "derived"),
        (NONE, "own", None, "derived", "derived"),
        (NONE, "own", None, "independent", "independent"),
        (NONE, "own", None, "undecided", "undecided"),
        # No common origin is no innocence: an extracted network has a start of its own.
        (NONE, "own", None, None, "undecided"),
        (NONE, "ancestor", None, None, "undecided"),
        (OTHER, "unknown", None, None, "undecided"),
        (OTHER, "own", None, "derived", "derived"),
        (OTHER, "unknown", None, "independent", "independent"),
    ],
)
def test_answers(origin, start, changes, by_function, answer):
    settlement = settle(origin, change(changes), function(by_function), start=start)
    assert settlement.answer == answer
    assert settlement.because.endswith(".")
    # Whoever is left without an answer is told what would give one, and nobody else is.
    assert bool(settlement.would_settle) == (answer in ("undecided", "common origin"))


def test_changes_without_an_ancestor_are_refused():
    with pytest.raises(ValueError, match="its start is own: leave them out, or name the ancestor"):
        settle(FOUND, change("derived"), NO_INDEPENDENTS, start="own")


@pytest.mark.parametrize("start", ["own", "unknown", "common seed", "ancestor"])
def test_nothing_asked_is_undecided_and_says_so(start):
    settlement = settle(OTHER, NO_CHANGES, NO_INDEPENDENTS, start=start)
    assert settlement.answer == "undecided"
    assert "no evidence of innocence" in settlement.because
    assert "the architectures differ" in settlement.because


def test_a_common_origin_is_found_at_its_level_and_not_above():
    assert origin_line(math.log10(ORIGIN_LEVEL)).finding == "for"
    assert origin_line(math.log10(ORIGIN_LEVEL) + 0.01).finding == "neither"
    assert origin_line(-1.5, level=0.05).finding == "for"


@pytest.mark.parametrize(
    ("log10_p", "text"),
    [(0.0, "1.000"), (-1.3, "0.050"), (-3.2, "6e-4"), (-3.01, "1e-3"), (-2468.4, "4e-2469")],
)
def test_p_values_in_words(log10_p, text):
    assert power_of_ten(log10_p) == text

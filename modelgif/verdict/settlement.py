"""One answer from several lines of evidence."""

from dataclasses import dataclass
from typing import Literal

from modelgif.verdict.evidence import Line

Answer = Literal["derived", "common origin", "independent", "undecided"]
# What explains the random start that the victim's hidden units descend from.
Start = Literal["own", "common seed", "ancestor", "unknown"]


@dataclass(frozen=True)
class Settlement:
    """The answer on one suspect.

    Attributes:
        answer: see `settle`.
        because: the reason, in a sentence.
        would_settle: what would decide it, in a sentence; empty where it is decided.
    """

    answer: Answer
    because: str
    would_settle: str = ""


def settle(origin: Line, changes: Line, ranked: Line, *, start: Start) -> Settlement:
    """Returns the answer that the lines of evidence on one suspect add up to.

    - common origin, and the victim has a start of its own: ``derived``
    - common origin, and an ancestor explains it: what the changes from the ancestor decide among
      independents of that ancestor, where they were asked
    - common origin otherwise: what field and labels decide among independents that share it, and
      without these ``common origin``
    - no common origin, or not asked: what field and labels decide among independents

    ``independent`` needs a line that found the suspect farther than independent models. ``ranked``
    must have been asked among independents that share the victim's origin where the suspect does.

    Args:
        origin: see `modelgif.verdict.evidence.origin_line`.
        changes: see `modelgif.verdict.evidence.ranked_line`.
        ranked: likewise, of field and labels.
        start: what explains the victim's start: its owner's statement that it is ``own`` and
            private, a ``common seed`` that gives it, a public ``ancestor``; or ``unknown``.

    Raises:
        ValueError: for changes that were asked without an ancestor.

    Example:
        >>> from modelgif.verdict.evidence import origin_line, ranked_line
        >>> origin = origin_line(-143, matched="120 of 120 hidden units match")
        >>> changes = ranked_line("changes", None, "no ancestor was named")
        >>> ranked = ranked_line("field and labels", None, "no independent model was given")
        >>> settle(origin, changes, ranked, start="own").answer
        'derived'
        >>> settle(origin, changes, ranked, start="unknown").answer
        'common origin'
    """
    if changes.finding != "not asked" and start != "ancestor":
        raise ValueError(
            f"changes are measured from an ancestor of the victim, but its start is {start}: leave "
            "them out, or name the ancestor."
        )
    if origin.finding != "for":
        return _by_function(origin, ranked)
    if start == "own":
        return Settlement(
            "derived",
            f"its hidden units are the victim's ({origin.statement}), whose random start is stated "
            "to be private.",
        )
    # One line decides, so that the level is that of one test.
    line = ranked if changes.finding == "not asked" else changes
    if line.finding == "for":
        return Settlement("derived", f"{_NEARER[line.name]}: {line.statement}.")
    if line.finding == "against":
        return Settlement("independent", f"{_FARTHER[line.name]}: {line.statement}.")
    if line.finding == "neither":
        return Settlement(
            "common origin",
            f"it descends from the victim's random start ({origin.statement}), and among "
            f"independent models that do, too, {line.name} do not decide: {line.statement}.",
            "More independent models that share this start, or more references.",
        )
    because, would = _UNSETTLED[start]
    return Settlement(
        "common origin",
        f"it descends from the victim's random start ({origin.statement}), {because}.",
        would,
    )


def _by_function(origin: Line, ranked: Line) -> Settlement:
    if ranked.finding == "for":
        return Settlement("derived", f"{_NEARER[ranked.name]}: {ranked.statement}.")
    if ranked.finding == "against":
        return Settlement("independent", f"{_FARTHER[ranked.name]}: {ranked.statement}.")
    started = (
        "it shows no common origin with the victim"
        if origin.finding == "neither"
        else f"whether it has the victim's origin was not asked ({origin.statement})"
    )
    if ranked.finding == "neither":
        return Settlement(
            "undecided",
            f"{started}, and field and labels do not decide: {ranked.statement}.",
            "More independent models, or more references.",
        )
    return Settlement(
        "undecided",
        f"{started}, which is no evidence of innocence: a network trained on the victim's answers "
        f"has a start of its own. Field and labels were not asked: {ranked.statement}.",
        "At least 19 independent models of the suspect's architecture (--independent); modelgif "
        "independents makes them.",
    )


_NEARER = {
    "changes": "it moved away from the public ancestor as the victim did, more than any honest "
    "model had to",
    "field and labels": "its function is nearer to the victim's than those of independent models",
}
_FARTHER = {
    "changes": "it moved away from the public ancestor in a direction of its own",
    "field and labels": "its function is no nearer to the victim's than those of independent "
    "models",
}
_UNSETTLED: dict[Start, tuple[str, str]] = {
    "own": ("", ""),
    "common seed": (
        "which is that of a common seed: others who call the same seed share it without having "
        "seen the victim",
        "At least 19 independent models of this seed (--independent), among which field and labels "
        "can be compared.",
    ),
    "ancestor": (
        "and so does everybody who started from the public ancestor",
        "At least 19 independent models that were made from the ancestor (--independent); modelgif "
        "independents makes them.",
    ),
    "unknown": (
        "and nobody said whether that start is private",
        "The public model that the victim was made from (--ancestor), or the statement that it was "
        "trained from a private random start (--own-initialisation).",
    ),
}

"""Lines of evidence on one suspect: what each found, and what it can and cannot show.

A line is a test with a null hypothesis of its own. A common origin of two networks is no theft
where both started from the same public weights, and a distance among independent models says
nothing where these differ from the suspect in more than the victim. A line that was not asked is
never evidence of innocence.
"""

import math
from dataclasses import dataclass
from typing import Literal

from modelgif.verdict.decision import Decision

Finding = Literal["for", "against", "neither", "not asked"]
Ranked = Literal["changes", "field and labels"]

# The chance that any suspect with a start of its own is said to share the victim's. Networks that
# do share one have p-values of 1e-10 and below, so that a strict level loses nothing and adds next
# to nothing to that of the other lines.
ORIGIN_LEVEL = 1e-6
# Levels and p-values are ratios of small whole numbers; equal ones must compare as equal.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Line:
    """One line of evidence on one suspect.

    Attributes:
        name: ``origin``, ``changes``, or ``field and labels``.
        finding: whether it speaks for the suspect being derived from the victim, against it, for
            neither, or was not asked. For ``origin``, ``for`` means a common origin.
        statement: what was found, or what is missing for the line to be asked.
        shows: what it can show.
        cannot_show: what it cannot.
        log10_p: of its p-value, corrected for all suspects; None when it was not asked.
    """

    name: str
    finding: Finding
    statement: str
    shows: str
    cannot_show: str
    log10_p: float | None = None


def origin_line(
    log10_p: float | None, *, matched: str = "", missing: str = "", level: float = ORIGIN_LEVEL
) -> Line:
    """Returns the line of evidence of a test of origin.

    Args:
        log10_p: of the corrected p-value; None when the test was not asked.
        matched: how many hidden units match, in words.
        missing: why it was not asked.
        level: the largest p-value at which a common origin is found.

    Example:
        >>> origin_line(-143.0, matched="120 of 120 hidden units match").statement
        '120 of 120 hidden units match, p = 1e-143'
        >>> origin_line(None, missing="the architectures differ").finding
        'not asked'
    """
    shows = "whether both networks descend from one random start"
    cannot = (
        "which was made from which, or whether both were made from the same public weights; and a "
        "network trained on the victim's answers, or with permuted hidden units, shares no start"
    )
    if log10_p is None:
        return Line("origin", "not asked", missing.rstrip("."), shows, cannot)
    found = log10_p <= math.log10(level) + _ROUNDING
    statement = ", ".join(filter(None, [matched, f"p = {power_of_ten(log10_p)}"]))
    return Line("origin", "for" if found else "neither", statement, shows, cannot, log10_p)


def ranked_line(
    name: Ranked, decision: Decision | None, statement: str, *, p_value: float | None = None
) -> Line:
    """Returns the line of evidence of a comparison with independent models.

    Args:
        name: of the line.
        decision: by this line alone; None when it was not asked.
        statement: what was found, or what is missing.
        p_value: corrected for all suspects; None when it was not asked.

    Example:
        >>> line = ranked_line("changes", "derived", "nearer than all of 19", p_value=0.05)
        >>> line.finding, round(line.log10_p, 2)
        ('for', -1.3)
    """
    shows, cannot = _RANKED[name]
    statement = statement.rstrip(".")
    if decision is None or p_value is None:
        return Line(name, "not asked", statement, shows, cannot)
    finding: Finding = _FINDINGS[decision]
    return Line(name, finding, statement, shows, cannot, math.log10(p_value))


def power_of_ten(log10_p: float) -> str:
    """Returns a p-value in words, also one that no float can hold.

    Example:
        >>> power_of_ten(-1.3), power_of_ten(-2468.4)
        ('0.050', '4e-2469')
    """
    if log10_p > -3:
        return f"{10**log10_p:.3f}"
    exponent = math.floor(log10_p)
    digit = round(10 ** (log10_p - exponent))
    return f"{digit}e{exponent}" if digit < 10 else f"1e{exponent + 1}"


_FINDINGS: dict[Decision, Finding] = {
    "derived": "for",
    "independent": "against",
    "undecided": "neither",
}
_RANKED: dict[Ranked, tuple[str, str]] = {
    "changes": (
        "whether the suspect moved away from the public ancestor in the victim's direction, more "
        "than honest models that started there",
        "anything where the ancestor is another one, or the independents did not start from it",
    ),
    "field and labels": (
        "whether the suspect's function is nearer to the victim's than those of independent models",
        "anything about a suspect that differs from the independents in more than the victim, such "
        "as its starting weights, its data or how it was trained",
    ),
}

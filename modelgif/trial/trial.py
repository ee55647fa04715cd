"""What a trial found."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from modelgif.lineage import ChangeSimilarity, OriginTest
from modelgif.references.references import References
from modelgif.trial.examined import Examined
from modelgif.verdict import Verdict
from modelgif.verdict.evidence import Line
from modelgif.verdict.settlement import Answer, Start
from modelgif.zoo.stream import StreamedDistances

Source = nn.Module | Callable[[], nn.Module]


@dataclass(frozen=True, eq=False)
class Judgement:
    """What a trial found about one suspect.

    Attributes:
        suspect: its name.
        answer: ``derived``, ``common origin``, ``independent`` or ``undecided``.
        because: the reason, a clause that follows the suspect's name.
        would_settle: what would decide it; empty where it is decided.
        evidence: the lines of evidence: origin, changes, field and labels.
        verdict: the comparison with independents that the answer may rest on, of changes or of
            field and labels; None when neither was asked.
        origin: the test of origin; None when it was not asked.
        changes: from the ancestor; None without one.
        notes: what a reader must know besides.
    """

    suspect: str
    answer: Answer
    because: str
    would_settle: str
    evidence: tuple[Line, ...]
    verdict: Verdict | None
    origin: OriginTest | None
    changes: ChangeSimilarity | None
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Trial:
    """What a trial found.

    Attributes:
        victim: the victim's name.
        judgements: one per suspect.
        examined: every model that was looked at, by name.
        references: those given.
        kept: those at which models were compared, distinct and away from the baseline.
        independents: those that were believed, in their order.
        fields: distances of fields, against the victim; None when none were computed.
        labels: at each reference whether a model disagrees with the victim, ``[N]``, by name of
            those that have its classes.
        start: what explains the victim's random start.
        ancestor: the name of the ancestor that explains it, if one does.
        level: of the comparisons with independents.
        changes: of every model that shares the victim's ancestor, by name.
        notes: what a reader must know about all.
    """

    victim: str
    judgements: tuple[Judgement, ...]
    examined: Mapping[str, Examined]
    references: References
    kept: References
    independents: tuple[str, ...]
    fields: StreamedDistances | None
    start: Start
    ancestor: str | None
    level: float
    notes: tuple[str, ...]
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    changes: Mapping[str, ChangeSimilarity] = field(default_factory=dict)

    def field_distances(self, name: str) -> Tensor | None:
        """Returns a model's distance to the victim at each reference, ``[N]``; None without."""
        if self.fields is None or name not in self.fields.names:
            return None
        assert self.fields.per_reference is not None
        return self.fields.per_reference[self.fields.names.index(name)]

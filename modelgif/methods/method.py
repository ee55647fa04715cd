"""What a rival method declares about itself, once, in its own file."""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

from torch import Tensor

from modelgif.fields.model import Model

Access = Literal["labels", "scores", "features", "gradients", "weights"]
Nearer = Literal["lower", "higher"]


@dataclass(frozen=True)
class Method:
    """A way to compare two models, with its properties; testbeds, tables and tests read them.

    A file of methods holds a tuple ``METHODS`` of them, one per variant that a testbed may name.

    Attributes:
        name: by which configurations and tables call it.
        compares: what is compared, in a few words, for tables.
        describe: of a model at references ``[N, *input_shape]``, a description.
        compare: of two descriptions, the victim's first, one number.
        access: the least that it must see of a suspect. Scores are logits, or probabilities; a
            method of features also works on scores where no features are available.
        bounds: the least and the greatest number that `compare` returns.
        source: author, venue and year; the whole reference is in the file.
        per_reference: of two descriptions, the terms ``[N]`` of which `compare` is the mean; None
            for a method that compares a set of references as a whole.
        symmetric: whether the order of the two models makes no difference.
        nearer: whether lower or higher numbers mean nearer models.
        same_classes: whether both models must have the same classes, in one order.
        same_architecture: whether both models must have one architecture.
        uses_baseline: whether `describe` takes the ``baseline`` of the fields.
        options: settings of a testbed of small images that are not the functions' defaults; of
            `prepare` where there is one, else of `describe`.
        prepare: what it makes from the victim, as further arguments of `describe` for all models;
            it takes the victim, references, ``generator`` and `options`. The key ``references``
            replaces the references themselves.

    Raises:
        ValueError: for bounds in the wrong order, or a per-reference method that prepares.

    Examples:
        >>> from modelgif.methods import METHODS
        >>> sac = METHODS["sac"]
        >>> sac.access, sac.symmetric, sac.is_per_reference, sac.bounds
        ('scores', True, False, (0.0, 2.0))
    """

    name: str
    compares: str
    describe: Callable[..., Any]
    compare: Callable[[Any, Any], float]
    _: KW_ONLY
    access: Access
    bounds: tuple[float, float]
    source: str
    per_reference: Callable[[Any, Any], Tensor] | None = None
    symmetric: bool = True
    nearer: Nearer = "lower"
    same_classes: bool = False
    same_architecture: bool = False
    uses_baseline: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    prepare: Callable[..., Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        if not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"{self.name}: bounds must rise, got {self.bounds}.")
        if self.prepare is not None and self.is_per_reference:
            raise ValueError(
                f"{self.name}: a method that makes its own references from the victim compares "
                "them as a set; leave per_reference out."
            )

    @property
    def is_per_reference(self) -> bool:
        """Whether the distance is a mean over references, so that these can be chosen."""
        return self.per_reference is not None

    def arguments(
        self, victim: Model, references: Tensor, *, baseline: float | Tensor, generator: Any
    ) -> dict[str, Any]:
        """Returns the arguments of `describe` with which every model is compared with `victim`.

        Args:
            victim: the protected model; it may be differentiated.
            references: ``[N, *input_shape]``.
            baseline: of the fields; left out where the method has none.
            generator: a `torch.Generator` for what the method draws from the victim.
        """
        given: dict[str, Any] = {"references": references}
        if self.uses_baseline:
            given["baseline"] = baseline
        if self.prepare is None:
            return given | dict(self.options)
        return given | dict(self.prepare(victim, references, generator=generator, **self.options))

    def distance(self, a: Any, b: Any) -> float:
        """Returns `compare` of two descriptions, with its sign such that lower is nearer."""
        return self._sign * self.compare(a, b)

    def distances(self, a: Any, b: Any) -> Tensor:
        """Returns `per_reference` of two descriptions ``[N]``, such that lower is nearer.

        Raises:
            TypeError: for a method that compares references as a set.
        """
        if self.per_reference is None:
            raise TypeError(f"{self.name} compares references as a set: use distance.")
        return self._sign * self.per_reference(a, b)

    @property
    def _sign(self) -> int:
        return 1 if self.nearer == "lower" else -1

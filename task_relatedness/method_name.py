"""Names of the ways to compare encoders: a method, and what it was applied to."""

import re
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class MethodName:
    """A method with what it was applied to; as text, ``modelgif[plain,channel_peaks,zero]``.

    Attributes:
        method: ``modelgif``, or a rival of `task_relatedness.methods`.
        references: what the encoders were compared at.
        target: the scalar that was differentiated; None for a method that differentiates none, or
            always the same one.
        baseline: where paths began; None for a method without paths.
    """

    method: str
    references: str
    target: str | None = None
    baseline: str | None = None

    def __str__(self) -> str:
        parts = [part for part in (self.references, self.target, self.baseline) if part is not None]
        return f"{self.method}[{','.join(parts)}]"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Returns the name that `str` made `text` of.

        Raises:
            ValueError: for anything else.
        """
        match = re.fullmatch(r"(\w+)\[([^\[\],]+(?:,[^\[\],]+){0,2})\]", text)
        if match is None:
            raise ValueError(
                f"expected METHOD[REFERENCES,TARGET,BASELINE] or a part of it, got {text!r}."
            )
        return cls(match[1], *match[2].split(","))

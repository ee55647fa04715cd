"""Lets the reference show examples as code: its parser knows their section as ``Examples``."""

import re
from typing import Any

import griffe


class ShowExamples(griffe.Extension):
    """Renames the section ``Example`` of every docstring that is shown."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every object, once its source is read."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE
            )

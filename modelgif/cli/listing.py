"""Options that take several values, as shells write them: ``--suspect zoo/*.safetensors``."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import click


class ListingCommand(click.Command):
    """A command without positional arguments, whose options in `lists` take one or more values.

    ``--suspect a b`` then means ``--suspect a --suspect b``.
    """

    lists: ClassVar[tuple[str, ...]] = ()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses the arguments after each value of a list was given its option."""
        return super().parse_args(ctx, list(_repeated(args, self.lists)))


def _repeated(words: Sequence[str], lists: Sequence[str]) -> Iterator[str]:
    option, n_values = None, 0
    for word in words:
        if word.startswith("-"):
            option, n_values = (word if word in lists else None), 0
        elif option is not None:
            n_values += 1
            if n_values > 1:
                yield option
        yield word

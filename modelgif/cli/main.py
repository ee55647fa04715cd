"""The command ``modelgif`` and its verbs."""

import sys
from typing import Any

import click

from modelgif.cli.compare import compare
from modelgif.cli.distance import distance
from modelgif.cli.extract import extract
from modelgif.cli.index import index
from modelgif.cli.info import info
from modelgif.cli.select import select
from modelgif.cli.verdict import verdict


class _Verbs(click.Group):
    """A group that turns the library's errors into one message and exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.exceptions.Exit:  # a RuntimeError, too
            raise
        except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="modelgif")
def main() -> None:
    """How far apart are trained models in function, and which was made from which?

    A MODEL is a checkpoint (mine.safetensors, with its card beside it) or an address:
    timm:resnet18?pretrained=true, torchvision:resnet18?weights=DEFAULT,
    file:mine.pt?architecture=torchvision:resnet18, python:package.module:function.

    Exit status: 0 done; 1 it failed, with the reason; 2 the command was not understood; verdict has
    3 when a suspect is called derived, and 4 when none is but some are undecided.
    """


for _verb in (compare, distance, verdict, select, extract, index, info):
    main.add_command(_verb)


if __name__ == "__main__":
    sys.exit(main())

"""The command ``modelgif`` and its verbs."""

import importlib
import sys
from typing import Any

import click
from click.shell_completion import CompletionItem

from modelgif.cli.extras import explain

# A verb's module is imported when the verb is asked for, so that help and completion are fast.
_VERBS = {
    "compare": "Say how far apart two MODELs are in function.",
    "distance": "Measure the distances of all pairs of MODELs.",
    "verdict": "Decide whether each suspect was derived from the victim.",
    "independents": "Train independent models for a verdict.",
    "select": "Rank pretrained MODELs for fine-tuning on your images.",
    "extract": "Write the gradient field of each MODEL to a folder.",
    "index": "Keep fingerprints of models in a folder, and search among them.",
    "info": "Say what FILE is: a checkpoint, fields, references …",
}


class _Verbs(click.Group):
    """The verbs, by name; the library's errors become one message and exit status 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        return getattr(importlib.import_module(f"modelgif.cli.{cmd_name}"), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(_VERBS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        verbs = [
            CompletionItem(verb, help=text)
            for verb, text in _VERBS.items()
            if verb.startswith(incomplete)
        ]
        # The method of click.Group would import every verb.
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.exceptions.Exit:  # is a RuntimeError
            raise
        except ModuleNotFoundError as error:
            raise click.ClickException(explain(error)) from error
        except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="modelgif")
def main() -> None:
    """How far apart are trained models in function, and which was derived from which?

    A MODEL is a checkpoint (mine.safetensors, with its card beside it) or an address:
    timm:resnet18?pretrained=true, torchvision:resnet18?weights=DEFAULT,
    file:mine.pt?architecture=torchvision:resnet18, python:package.module:function.

    Exit status: 0 success; 1 failure, with the reason; 2 invalid usage; verdict also has 3 when a
    suspect is derived, and 4 when none is but at least one is undecided.
    """


if __name__ == "__main__":
    sys.exit(main())

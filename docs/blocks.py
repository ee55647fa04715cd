"""The code in a Markdown page: what is run, what is only checked, and where its output is shown.

A fenced block is run as it stands, in order, unless ``<!-- not run: WHY -->`` is the line above.
Where the markers of a section ``output NAME`` follow, `docs/fill.py` puts there what it printed.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Between the outputs of two blocks.
_RULE = "\x1e"
# A verdict's status says what it is; it is no failure.
_PRELUDE = """\
set -euo pipefail
modelgif() {
  local status=0
  command modelgif "$@" || status=$?
  if [[ $1 == verdict && ($status == 3 || $status == 4) ]]; then status=0; fi
  return $status
}
"""
_LEFT_BEHIND = (".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "*.part")
# What stages, and someone who followed the pages here, have made; in the repository's own folder
# only, because packages have such names, too.
_MADE_HERE = {"runs", "data", "zoo", "fields", "known", "imagenet", "my_images"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        language: the word after the fence, such as ``bash``.
        title: what else stands there, such as the name of the file that the block is.
        code: its text.
        not_run: why it is not run; empty when it is.
        output: the section that shows what it prints, or empty.
    """

    language: str
    title: str
    code: str
    not_run: str
    output: str


_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<why>.+?) -->\n)?"
    r"^```(?P<language>\w+)(?: (?P<title>\S+))?\n(?P<code>.*?)^```\n"
    r"(?:\n*<!-- begin (?P<output>output [^\n]+?) -->)?",
    re.DOTALL | re.MULTILINE,
)


def blocks(page: Path) -> list[Block]:
    """Returns the fenced blocks of a page that name a language, in order."""
    return [
        Block(m["language"], m["title"] or "", m["code"], m["why"] or "", m["output"] or "")
        for m in _BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def workshop(folder: Path) -> Path:
    """Returns a copy of the repository in `folder`, without runs and with this environment."""
    shutil.copytree(ROOT, folder, ignore=_left_behind)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def _left_behind(folder: str, names: list[str]) -> set[str]:
    made_here = _MADE_HERE & set(names) if Path(folder) == ROOT else set()
    return made_here | shutil.ignore_patterns(*_LEFT_BEHIND)(folder, names)


def run_blocks(found: Sequence[Block], folder: Path) -> list[str]:
    """Runs blocks one after the other in one shell, and returns what each printed.

    A block with a title becomes the file of that name, another one of bash is run, and any other
    is left alone.

    Raises:
        RuntimeError: when a command fails, with what it said.
    """
    code = _PRELUDE
    for block in found:
        if block.title:
            code += f"mkdir -p {Path(block.title).parent}\n"
            code += f"cat > {block.title} <<'end of the file'\n{block.code}end of the file\n"
        elif block.language == "bash":
            code += block.code
        code += f"printf '{_RULE}'\n"
    path = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", code],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(
            f"status {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )
    return done.stdout.split(_RULE)[:-1]

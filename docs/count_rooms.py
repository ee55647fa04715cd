"""Counts the rooms, floors and arrows of the library from its imports.

A room is a package or a top module of ``modelgif``, or ``modelgif`` itself; an arrow means that a
file of one room imports another room; a room's floor is the longest path of arrows below it.

    python docs/count_rooms.py [REPOSITORY]
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

TOP = "modelgif"


def arrows(root: Path) -> dict[str, set[str]]:
    """Returns, for each room of the library in `root`, the rooms that it imports."""
    files: dict[str, list[Path]] = {TOP: [root / TOP / "__init__.py"]}
    for path in sorted((root / TOP).iterdir()):
        if (path / "__init__.py").is_file():
            files[path.name] = sorted(path.rglob("*.py"))
        elif path.suffix == ".py" and path.stem != "__init__":
            files[path.stem] = [path]
    return {
        room: {
            name
            for file in own
            for name in imports(file.read_text(encoding="utf-8"))
            if name in files and name != room
        }
        for room, own in files.items()
    }


def imports(source: str) -> Iterator[str]:
    """Yields the first name below ``modelgif`` of every import of `source`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            top, *below = name.split(".")
            if top == TOP and below:
                yield below[0]


def floors(below: Mapping[str, set[str]]) -> dict[str, int]:
    """Returns the floor of each room, 0 for one that imports no other.

    Raises:
        graphlib.CycleError: when rooms import each other in a circle, naming it.
    """
    on: dict[str, int] = {}
    for room in TopologicalSorter(below).static_order():
        on[room] = max((on[name] + 1 for name in below[room]), default=0)
    return on


def main(root: Path) -> None:
    """Prints each room with its floor and what it imports, then the three counts."""
    below = arrows(root)
    on = floors(below)
    for room in sorted(below, key=lambda name: (on[name], name)):
        print(f"{on[room]:2}  {room:20} {' '.join(sorted(below[room]))}")
    n_arrows = sum(map(len, below.values()))
    print(f"{len(below)} rooms, {max(on.values()) + 1} floors, {n_arrows} arrows")


if __name__ == "__main__":
    main(Path(*sys.argv[1:2]) if sys.argv[1:] else Path(__file__).parents[1])

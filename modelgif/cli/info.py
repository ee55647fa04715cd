"""``modelgif info``: what a file is, and what it records about itself."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from modelgif.cli.printing import print_result


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(file: Path, as_json: bool) -> None:
    """Say what FILE is: a checkpoint, weights, a field store, references or a fingerprint.

    The whole file is read and checked against its digests; nothing in it is executed.
    """
    print_result({"file": str(file)} | _described(file), as_json=as_json)


def _described(file: Path) -> dict[str, Any]:
    from modelgif.loading.checkpoint import read_checkpoint
    from modelgif.loading.state_dict import read_state_dict
    from modelgif.references.file import read_references
    from modelgif.storage.field_store import FieldStore

    if file.suffix == ".h5":
        with FieldStore(file) as store:
            store.verify()
            header = dataclasses.asdict(store.header)
            return {"is": "a field store", "shape": list(store.shape)} | header
    if file.suffix == ".safetensors" and file.with_suffix(".json").is_file():
        state, card = read_checkpoint(file)
        return {"is": "a checkpoint", "weights": _count(state)} | card
    if file.suffix == ".safetensors" and "references_sha256" in _metadata(file):
        references = read_references(file)
        return {
            "is": "references",
            "shape": list(references.images.shape),
            "references_sha256": references.sha256(),
        }
    state = read_state_dict(file)
    return {"is": "weights without a card", "tensors": len(state), "weights": _count(state)}


def _count(state: dict[str, Any]) -> int:
    return sum(tensor.numel() for tensor in state.values())


def _metadata(file: Path) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as content:
            return content.metadata() or {}
    except SafetensorError:
        return {}  # reading it as weights says what is wrong

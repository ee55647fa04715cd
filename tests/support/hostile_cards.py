"""Hostile cards: they name code, other files and impossible sizes, or are no cards."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from modelgif.experiment.networks import convnet, network_address
from modelgif.loading.checkpoint import write_checkpoint
from modelgif.loading.schemes import all_schemes
from tests.support.hostile_kind import Hostile, Maker

HONEST = network_address("convnet", 1, 10)
TRUSTED = "python:modelgif.experiment.networks"
BACKBONES = "python:modelgif.experiment.backbone"
BACKBONE = f"{BACKBONES}:backbone"


def hostile_cards() -> Iterator[Hostile]:
    """Every file of this kind."""
    for name, architecture, says in [
        ("os_mkdir", "python:os:mkdir?path={mark}", "cards may run functions of"),
        (
            "untrusted",
            "python:tests.support.hostile_pickles:Fuse?path={mark}",
            "cards may run functions",
        ),
        ("private", f"{TRUSTED}:_unit?in_channels=1&out_channels=1", "not a public function"),
        ("imported", f"{TRUSTED}:nn", "no function|not a public function|no module"),
        (
            "no_network",
            f"{TRUSTED}:network_address?name=x&in_channels=1&num_classes=2",
            "cannot be",
        ),
        (
            "dotted",
            "python:modelgif.experiment.networks.os:mkdir?path={mark}",
            "cannot be imported",
        ),
        *referring_cards(),
        ("fetching", f"{BACKBONE}?network=torchvision:fasterrcnn_resnet50_fpn", "network must be"),
        ("giant_backbone", f"{BACKBONE}?network=torchvision:vit_h_14", "more than .* parts or"),
        ("wide_backbone", f"{BACKBONE}?network=convnet&width=100000", "larger than anything"),
        ("no_backbone", f"{BACKBONE}?network=7", "cannot be built"),
        ("no_function_of_texts", f"{BACKBONES}:cut_head?model=a", "cannot be built"),
        ("wide", f"{HONEST}&width=100000", "width=100000 is larger than anything"),
        ("wide_within_reason", f"{HONEST}&width=9000", "more than .* parts or"),
        ("wide_negative", f"{HONEST}&width=-5", "cannot be built"),
        ("many_classes", f"{HONEST}0000000000", "larger than anything"),
        ("endless", f"{HONEST}&width=1e999", "larger than anything"),
        ("deep", "timm:vit_tiny_patch16_224?depth=9999", "more than .* parts|cannot be built"),
        ("deeper", "timm:vit_tiny_patch16_224?depth=100000000", "larger than anything"),
        ("giant", "timm:vit_giant_patch14_dinov2?img_size=9996", "more than .* parts or"),
        ("on_a_device", "timm:vit_tiny_patch16_224?device=cpu", "chooses a device"),
        ("reading_a_file", "timm:resnet18?checkpoint_path=/etc/passwd", "must not say"),
        ("trained", "torchvision:resnet18?weights=DEFAULT", "asks for trained weights"),
        ("giant_library", "torchvision:vit_h_14", "more than .* parts or|other architecture"),
        ("nested_literal", f"{HONEST}&width={'(' * 50_000}", "at most 4096 characters"),
        ("long_literal", f"{HONEST}&width={'-' * 3_900}1", "cannot be built"),
        ("of_numbers", 7, "must be an address"),
    ]:
        card = {"architecture": architecture}
        yield Hostile(f"card_{name}", "model", says, _with_card(card))
    for name, change, says in [
        ("huge_images", {"preprocessing": {"size": [10**6, 10**6]}}, "size must be"),
        ("infinite_mean", '"preprocessing": {"mean": [1e999], "std": [1]}', "finite"),
        ("nan", '"accuracy": NaN', "NaN is not a number"),
        ("infinite", '"accuracy": 1e999', "not JSON compliant|Out of range"),
        ("key_twice", '"architecture": "python:os:mkdir"', "a key appears twice"),
        ("deep_nesting", '"recipe": ' + "[" * 200_000, "recursion"),
        ("long_number", '"seed": ' + "9" * 100_000, "4300 digits|integer string"),
    ]:
        yield Hostile(f"card_{name}", "model", says, _with_card(change))
    for make, says in [
        (list_for_a_card, "must be a JSON object"),
        (text_of_bytes, "codec can't decode"),
        (two_gigabytes, "at most 1,048,576 bytes"),
        (card_of_zeros_without_end, "not a regular file"),
        (pipe_for_a_card, "not a regular file"),
        (terabyte_of_nothing, "another architecture|of another shape|not a complete safetensors"),
        (other_weights, "not those of its card"),
        (changed_card, "digest it states"),
    ]:
        yield Hostile(f"card_{make.__name__}", "model", says, make)


def referring_cards() -> Iterator[tuple[str, str, str]]:
    """Cards that name what is not a bare architecture, of every scheme: other files, other code."""
    names = {
        "file": ("other_file", "file:../../other.safetensors"),
        "export": ("other_archive", "export:../other.pt2"),
        "hub": ("repository", "hub:evil/repository:entry"),
        "hf": ("folder", "hf:evil/model"),
    }
    for scheme in all_schemes():
        if not scheme.is_architecture:
            name, address = names.get(scheme.name, (f"scheme_{scheme.name}", scheme.example))
            yield name, address, "the architecture must begin with"


def checkpoint(folder: Path) -> tuple[Path, dict[str, Any]]:
    """An honest checkpoint, and its card without the card's digest."""
    path = folder / "x.safetensors"
    write_checkpoint(path, convnet(1, 10, 4), {"architecture": HONEST + "&width=4"})
    card = json.loads(path.with_suffix(".json").read_text())
    del card["card_sha256"]
    return path, card


def _with_card(change: dict[str, Any] | str) -> Maker:
    def make(folder: Path, mark: Path) -> Path:
        path, card = checkpoint(folder)
        if isinstance(change, str):
            text = json.dumps(card)[:-1] + f", {change}}}"
        else:
            text = json.dumps(card | change).replace("{mark}", str(mark))
        path.with_suffix(".json").write_text(text)
        return path

    return make


def list_for_a_card(folder: Path, _mark: Path) -> Path:
    path, card = checkpoint(folder)
    path.with_suffix(".json").write_text(json.dumps([card]))
    return path


def text_of_bytes(folder: Path, _mark: Path) -> Path:
    path, _ = checkpoint(folder)
    path.with_suffix(".json").write_bytes(b"\xff\xfe\x00")
    return path


def two_gigabytes(folder: Path, _mark: Path) -> Path:
    path, _ = checkpoint(folder)
    os.truncate(path.with_suffix(".json"), 2**31)
    return path


def card_of_zeros_without_end(folder: Path, _mark: Path) -> Path:
    path, _ = checkpoint(folder)
    path.with_suffix(".json").unlink()
    path.with_suffix(".json").symlink_to("/dev/zero")
    return path


def pipe_for_a_card(folder: Path, _mark: Path) -> Path:
    path, _ = checkpoint(folder)
    path.with_suffix(".json").unlink()
    os.mkfifo(path.with_suffix(".json"))
    return path


def terabyte_of_nothing(folder: Path, _mark: Path) -> Path:
    """A file with a hole of a terabyte, which its header says is a weight."""
    path, _ = checkpoint(folder)
    count = 2**38
    entry = {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}
    header = json.dumps({"head.weight": entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, 8 + len(header) + 4 * count)
    return path


def other_weights(folder: Path, _mark: Path) -> Path:
    path, card = checkpoint(folder)
    torch.manual_seed(1)
    write_checkpoint(path, convnet(1, 10, 4), {"architecture": HONEST + "&width=4"})
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


def changed_card(folder: Path, _mark: Path) -> Path:
    path, _ = checkpoint(folder)
    card = path.with_suffix(".json")
    card.write_text(card.read_text().replace("width=4", "width=5"))
    return path

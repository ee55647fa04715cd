"""Feeds the readers with what no honest writer writes, and looks for errors that none documents.

    python -m tests.support.fuzz --minutes 10 [--seed 0] [NAME ...]

Texts are drawn from the words of their own grammar; files are sound ones of
`tests.support.corruption`, changed here and there. What is read must give a value or the documented
error, within seconds. The smallest example of each finding is printed, and belongs into a test.
"""

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from intellectual_property_protection.config import IPPConfig
from model_unlearning.config import UnlearningConfig
from modelgif.experiment.config import Config, FieldConfig, load_config
from modelgif.experiment.config_error import ConfigError
from modelgif.experiment.networks import convnet, network_address
from modelgif.experiment.plain_yaml import PlainYamlError, dump_yaml, parse_yaml
from modelgif.fields.target import resolve_target
from modelgif.loading.address import literal, parse_address, parse_architecture
from modelgif.loading.checkpoint import write_checkpoint
from modelgif.loading.errors import CheckpointError
from modelgif.loading.load import load_model
from modelgif.loading.schemes import scheme_names
from modelgif.loading.state_dict import read_state_dict
from tests.support.corruption import KINDS, Kind

ROOT = Path(__file__).parents[2]
SLOW = 5.0


class TooSlowError(Exception):
    """A reader that takes seconds for a small file."""


@dataclass(frozen=True)
class Target:
    """What is fed, what it is fed to, and the errors that this may raise."""

    examples: st.SearchStrategy[Any]
    read: Callable[[Any], object]
    errors: tuple[type[Exception], ...]

    def feed(self, example: Any) -> str:
        """Reads an example, and returns ``read`` or ``refused``.

        Raises:
            Exception: any that is not documented, and `TooSlowError`.
        """
        started = time.process_time()
        try:
            self.read(example)
            outcome = "read"
        except self.errors:
            outcome = "refused"
        if (seconds := time.process_time() - started) > SLOW:
            raise TooSlowError(f"{seconds:.1f} s")
        return outcome


# What is drawn.

_EXTREMES = [b"\xff" * 8, b"\0" * 8, (2**40).to_bytes(8, "little"), (2**31).to_bytes(4, "little")]
_WORDS = st.sampled_from(
    [b"{", b"}", b"[", b"]", b'"', b",", b":", b"1e999", b"-1", b"null", b"NaN"]
)


@st.composite
def changed(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """One of some contents, changed in one place or a few."""
    content = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        size = draw(st.integers(0, 64))
        new = draw(st.one_of(st.binary(max_size=16), st.sampled_from(_EXTREMES), _WORDS))
        way = draw(st.sampled_from(["write", "insert", "leave out", "repeat", "move", "cut"]))
        before, part, after = content[:at], content[at : at + size], content[at + size :]
        content = {
            "write": before + new + content[at + len(new) :],
            "insert": before + new + part + after,
            "leave out": before + after,
            "repeat": before + part + part + after,
            "move": before + after + part,
            "cut": before,
        }[way]
    return content


def words(*own: str, most: int = 25) -> st.SearchStrategy[str]:
    """Texts of a grammar's own words, and of others."""
    return st.lists(st.one_of(st.sampled_from(own), st.text(max_size=3)), max_size=most).map(
        "".join
    )


plain = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)

_YAML = [
    ": ",
    "- ",
    "\n",
    "  ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "&a ",
    "*a",
    "!!int ",
    "'",
    '"',
    "|",
    ">",
]
_YAML += [
    "1",
    "1e3",
    ".inf",
    "0x1f",
    "yes",
    "null",
    "~",
    "# ",
    "---\n",
    "...",
    "? ",
    "<<",
    "\t",
    "%",
]
_ADDRESS = [f"{name}:" for name in scheme_names()]
_ADDRESS += [
    "resnet18",
    "?",
    "&",
    "=",
    "%",
    "%41",
    "+",
    ":",
    "/",
    "..",
    "mean",
    "std",
    "size",
    "seed",
    "num_classes",
]
_ADDRESS += ["0.5", ",", "1e999", "nan", "(", ")", "[", "]", "'", "true", "None", "weights", "-"]


@st.composite
def keys_of(draw: st.DrawFn, config: dict[str, Any]) -> dict[str, Any]:
    """A configuration with some of its values, at any depth, replaced, left out or added."""
    config = json.loads(json.dumps(config))
    for _ in range(draw(st.integers(1, 3))):
        inner: Any = config
        while isinstance(inner, dict | list) and inner and draw(st.booleans()):
            key = draw(
                st.sampled_from(list(inner) if isinstance(inner, dict) else range(len(inner)))
            )
            if not isinstance(inner[key], dict | list) or not inner[key]:
                break
            inner = inner[key]
        if isinstance(inner, list):
            inner.append(draw(plain))
        elif isinstance(inner, dict):
            key = draw(st.one_of(st.text(max_size=8), st.sampled_from([*inner, "name"])))
            if draw(st.booleans()):
                inner[key] = draw(plain)
            else:
                inner.pop(key, None)
    return config


# What it is fed to.


def _yaml(text: str) -> None:
    value = parse_yaml(text)
    if isinstance(value, dict | list):
        # What was read is written as something that reads alike.
        assert repr(parse_yaml(dump_yaml(value))) == repr(value)


def _address(text: str) -> None:
    with suppress(ValueError):
        parse_architecture(text)
    address = parse_address(text)
    for part in (address.arguments, address.preprocessing, lambda: address.seed):
        with suppress(ValueError):
            part()
    assert address.asks_for_trained_weights in (True, False)


class _Folder:
    """Files of a kind, of which one at a time is replaced."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        folder.mkdir(parents=True)
        kind.write(folder)
        self.kind, self.folder = kind, folder
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
        self.sound = {path.name: path.read_bytes() for path in files}
        self.examples = st.sampled_from(files).flatmap(
            lambda path: st.tuples(st.just(path), changed([self.sound[path.name]]))
        )

    def read(self, example: tuple[Path, bytes]) -> None:
        path, content = example
        path.write_bytes(content)
        try:
            self.kind.read(self.folder)
        finally:
            path.write_bytes(self.sound[path.name])


def _write_pickle(folder: Path) -> None:
    torch.save({"state_dict": convnet(1, 2, 2).state_dict(), "epoch": 3}, folder / "x.pt")


def _write_older_pickle(folder: Path) -> None:
    state = convnet(1, 2, 2).state_dict()
    torch.save(state, folder / "x.pt", _use_new_zipfile_serialization=False)


def _write_model(folder: Path) -> None:
    card = {"architecture": f"{network_address('convnet', 1, 2)}&width=2", "note": [1, {"a": None}]}
    write_checkpoint(folder / "x.safetensors", convnet(1, 2, 2), card)


MORE_KINDS = {
    "model": Kind(_write_model, lambda folder: load_model(f"file:{folder}/x.safetensors"), ""),
    "pickle": Kind(_write_pickle, lambda folder: read_state_dict(folder / "x.pt"), ""),
    "older pickle": Kind(_write_older_pickle, lambda folder: read_state_dict(folder / "x.pt"), ""),
}
CONFIGS: dict[str, tuple[type[Config], str]] = {
    "unlearning": (UnlearningConfig, "model_unlearning/configs/smoke.yaml"),
    "protection": (IPPConfig, "intellectual_property_protection/configs/demo.yaml"),
}


def targets(folder: Path) -> dict[str, Target]:
    """Everything that is fed, by name, with its files in a new folder."""
    found = {
        "yaml": Target(words(*_YAML), _yaml, (PlainYamlError,)),
        "yaml of values": Target(
            st.one_of(st.lists(plain), st.dictionaries(st.text(), plain)).map(dump_yaml), _yaml, ()
        ),
        "address": Target(words(*_ADDRESS), _address, (ValueError,)),
        "literal": Target(words(*_ADDRESS, "{", "}", "**", "e", "9"), literal, ()),
        "target": Target(words("channel_peaks", ":", "1", "-"), resolve_target, (ValueError,)),
    }
    path = folder / "config.yaml"

    def load(cls: type[Config], content: bytes, overrides: tuple[str, ...] = ()) -> None:
        path.write_bytes(content)
        load_config(cls, path, overrides)

    for name, (cls, file) in CONFIGS.items():
        text = (ROOT / file).read_bytes()
        values = parse_yaml(text.decode())
        found |= {
            f"config of {name}": Target(
                keys_of(values), lambda v, c=cls: load(c, dump_yaml(v).encode()), (ConfigError,)
            ),
            f"text of {name}": Target(changed([text]), lambda t, c=cls: load(c, t), (ConfigError,)),
        }
    overrides = st.lists(words("n_steps", "baseline", "=", ".", "[", "]", "3", "x"), max_size=3)
    found["override"] = Target(
        overrides.map(tuple), lambda o: load(FieldConfig, b"{}", o), (ConfigError,)
    )
    for name, kind in (KINDS | MORE_KINDS).items():
        files = _Folder(kind, folder / name)
        errors = (CheckpointError,) if name in MORE_KINDS else (ValueError,)
        found[name] = Target(files.examples, files.read, errors)
    return found


def feed(target: Target, first: int, n_examples: int) -> Counter[str]:
    """Feeds a target with examples drawn from a seed; returns how often they were read or refused.

    Raises:
        Exception: the smallest finding, with the example in its notes.
    """
    outcomes: Counter[str] = Counter()

    @seed(first)
    @settings(
        max_examples=n_examples,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(target.examples)
    def one(example: Any) -> None:
        outcomes[target.feed(example)] += 1

    one()
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", help="of the targets; all by default")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    findings = 0
    with tempfile.TemporaryDirectory() as folder:
        chosen = {
            name: target
            for name, target in targets(Path(folder)).items()
            if not options.names or name in options.names
        }
        for name, target in chosen.items():
            counts, turn = Counter[str](), 0
            end = time.monotonic() + 60 * options.minutes / len(chosen)
            while time.monotonic() < end:
                try:
                    counts += feed(target, 1000 * options.seed + turn, 100)
                except Exception as error:
                    findings += 1
                    print(f"{name}:\n{''.join(traceback.format_exception(error))}")
                    break
                turn += 1
            print(f"{name}: {counts['read']} read, {counts['refused']} refused", flush=True)
    print(f"{findings} findings")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()

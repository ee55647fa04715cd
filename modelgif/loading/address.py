"""Model addresses: ``scheme:name?key=value&key=value``."""

import ast
import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

SCHEMES = {
    "torchvision": "torchvision:resnet18?weights=DEFAULT",
    "timm": "timm:resnet18?pretrained=true",
    "hf": "hf:microsoft/resnet-18",
    "hub": "hub:pytorch/vision:resnet18",
    "export": "export:model.pt2",
    "file": "file:victim.safetensors",
    "python": "python:package.module:function?num_classes=10",
}
PREPROCESSING_KEYS = ("mean", "std", "size")
ARCHITECTURES = ("torchvision", "timm", "python")
_TRAINED_KEYS = {"torchvision": "weights", "timm": "pretrained"}
# A card's address is a stranger's, and so are the names in a file.
_LONGEST = 4096
_LONG, _MANY = 200, 5000
_WORDS = {"true": True, "false": False, "none": None}


@dataclass(frozen=True)
class Address:
    """A model address in its parts.

    Attributes:
        text: the address as it was written.
        scheme: one of `SCHEMES`.
        name: what follows the scheme, up to the question mark; taken literally.
        query: what follows the question mark, percent-decoded.
    """

    text: str
    scheme: str
    name: str
    query: dict[str, str]

    @property
    def asks_for_trained_weights(self) -> bool:
        """Whether a library's trained weights are wanted."""
        key = _TRAINED_KEYS.get(self.scheme)
        return key is not None and bool(literal(self.query.get(key, "none")))

    @property
    def seed(self) -> int:
        """The seed of random weights, 0 by default.

        Raises:
            ValueError: for anything but an integer.
        """
        seed = literal(self.query.get("seed", "0"))
        if type(seed) is not int:
            raise ValueError(f"seed must be an integer, got {seed!r} in {self.text}.")
        return seed

    def arguments(self, *without: str) -> dict[str, object]:
        """Returns the query as Python values, less preprocessing, seed and the keys `without`."""
        others = {*PREPROCESSING_KEYS, "seed", *without}
        return {k: literal(v) for k, v in self.query.items() if k not in others}

    def preprocessing(self) -> dict[str, Any]:
        """Returns the numbers given for ``mean``, ``std`` and ``size``.

        Raises:
            ValueError: for anything but numbers with commas between.
        """
        found = {}
        for key in PREPROCESSING_KEYS:
            if key in self.query:
                number = int if key == "size" else float
                try:
                    found[key] = [number(part) for part in self.query[key].split(",")]
                except ValueError:
                    raise ValueError(
                        f"{key} must be numbers with commas between, such as mean=0.5,0.5,0.5 or "
                        f"size=224; got {key}={self.query[key]} in {self.text}."
                    ) from None
        return found


def parse_address(text: str) -> Address:
    """Returns the parts of an address.

    Raises:
        ValueError: for a malformed address or an unknown scheme, with the expected form.
    """
    if len(text) > _LONGEST:
        raise ValueError(
            f"an address has at most {_LONGEST} characters, got {len(text)}: {text[:80]}…"
        )
    scheme, colon, rest = text.partition(":")
    name, mark, query = rest.partition("?")
    if not colon or not name:
        raise ValueError(
            f"an address has the form scheme:name?key=value&key=value, got {text!r}; for example "
            f"{', '.join(SCHEMES.values())}."
        )
    if scheme not in SCHEMES:
        raise ValueError(
            f"unknown scheme {scheme!r} in {text!r}: expected {', '.join(SCHEMES)}."
            f"{did_you_mean(scheme, SCHEMES)}"
        )
    found: dict[str, str] = {}
    for pair in query.split("&") if mark else []:
        key, equals, value = pair.partition("=")
        if not equals or not key or key in found:
            raise ValueError(
                f"a query has the form key=value&key=value, each key once; got {pair!r} in "
                f"{text!r}. In a value, write & as %26 and ? as %3F; a path holds no question mark."
            )
        found[key] = unquote(value)
    return Address(text, scheme, name, found)


def parse_architecture(text: object) -> Address:
    """Returns the parts of an address that says which network given weights belong to.

    Raises:
        ValueError: for one that brings weights or preprocessing of its own.
    """
    if not isinstance(text, str):
        raise ValueError(
            "the architecture must be an address such as torchvision:resnet18?num_classes=10, "
            f"got {repr(text)[:80]}."
        )
    address = parse_address(text)
    if address.scheme not in ARCHITECTURES:
        raise ValueError(
            f"the architecture must begin with torchvision:, timm: or python:, got {text!r}."
        )
    if address.asks_for_trained_weights:
        raise ValueError(
            f"the architecture {text!r} asks for trained weights, but its weights come from the "
            f"file: leave out {_TRAINED_KEYS[address.scheme]}=."
        )
    if address.preprocessing():
        raise ValueError(
            f"the architecture {text!r} must not say mean, std or size: these belong in the "
            "card's preprocessing, or in the query of the file's own address."
        )
    return address


def literal(text: str) -> object:
    """Returns the Python literal that `text` is (also true, false, none), or `text` itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Returns a sentence with the near misses of `name`, or nothing where there are none."""
    # The search takes long over many or long names.
    short = [other for other in names if len(other) <= _LONG][:_MANY]
    near = difflib.get_close_matches(name, short, n=3) if len(name) <= _LONG else []
    return f" Did you mean {', '.join(near)}?" if near else ""

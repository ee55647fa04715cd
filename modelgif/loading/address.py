"""Model addresses: ``scheme:name?key=value&key=value``."""

import ast
import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from modelgif.loading.schemes import all_schemes, find_scheme, scheme_names

PREPROCESSING_KEYS = ("mean", "std", "size")
# A card's address comes from a stranger, and so do the names in a file.
_LONGEST = 4096
_LONG, _MANY = 200, 5000
_WORDS = {"true": True, "false": False, "none": None}


@dataclass(frozen=True)
class Address:
    """A model address in its parts.

    Attributes:
        text: the address as it was written.
        scheme: one of `modelgif.loading.schemes.scheme_names`.
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
        key = find_scheme(self.scheme).trained_key
        return bool(key) and bool(literal(self.query.get(key, "none")))

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

    @property
    def short_name(self) -> str:
        """What a table may call the model: the name, or of a path its last part without suffix."""
        return Path(self.name).stem if find_scheme(self.scheme).is_path else self.name

    def arguments(self, *without: str) -> dict[str, object]:
        """Returns the query as Python values, less preprocessing, seed and the keys `without`."""
        others = {*PREPROCESSING_KEYS, "seed", *without}
        return {k: literal(v) for k, v in self.query.items() if k not in others}

    def preprocessing(self) -> dict[str, Any]:
        """Returns the numbers given for ``mean``, ``std`` and ``size``.

        Raises:
            ValueError: for anything but numbers separated by commas.
        """
        found = {}
        for key in PREPROCESSING_KEYS:
            if key in self.query:
                number = int if key == "size" else float
                try:
                    found[key] = [number(part) for part in self.query[key].split(",")]
                except ValueError:
                    raise ValueError(
                        f"{key} must be numbers separated by commas, such as mean=0.5,0.5,0.5 or "
                        f"size=224; got {key}={self.query[key]} in {self.text}."
                    ) from None
        return found


def parse_address(text: str) -> Address:
    """Returns the parts of an address.

    Raises:
        ValueError: for a malformed address or an unknown scheme, with the expected form.

    Example:
        >>> address = parse_address("timm:resnet18?num_classes=10&mean=0.5&std=0.25")
        >>> address.scheme, address.name, address.arguments(), address.preprocessing()
        ('timm', 'resnet18', {'num_classes': 10}, {'mean': [0.5], 'std': [0.25]})
    """
    if len(text) > _LONGEST:
        raise ValueError(
            f"an address has at most {_LONGEST} characters, got {len(text)}: {text[:80]}…"
        )
    scheme, colon, rest = text.partition(":")
    name, mark, query = rest.partition("?")
    if not colon or not name:
        examples = ", ".join(known.example for known in all_schemes())
        raise ValueError(
            f"an address has the form scheme:name?key=value&key=value, got {text!r}; for example "
            f"{examples}. A bare path must end in the suffix of its file, such as .safetensors."
        )
    if scheme not in scheme_names():
        raise ValueError(
            f"unknown scheme {scheme!r} in {text!r}: expected {', '.join(scheme_names())}."
            f"{did_you_mean(scheme, scheme_names())}"
        )
    found: dict[str, str] = {}
    for pair in query.split("&") if mark else []:
        key, equals, value = pair.partition("=")
        if not equals or not key or key in found:
            raise ValueError(
                f"a query has the form key=value&key=value, each key once; got {pair!r} in "
                f"{text!r}. In a value, write & as %26 and ? as %3F; a path must not contain a "
                "question mark."
            )
        found[key] = unquote(value)
    return Address(text, scheme, name, found)


def parse_architecture(text: object) -> Address:
    """Returns the parts of an address that says which network given weights belong to.

    Raises:
        ValueError: for one that brings weights or preprocessing of its own.

    Example:
        >>> parse_architecture("torchvision:resnet18?num_classes=10").name
        'resnet18'
    """
    if not isinstance(text, str):
        raise ValueError(
            "the architecture must be an address such as torchvision:resnet18?num_classes=10, "
            f"got {repr(text)[:80]}."
        )
    address = parse_address(text)
    scheme = find_scheme(address.scheme)
    if not scheme.is_architecture:
        *others, last = (f"{known.name}:" for known in all_schemes() if known.is_architecture)
        raise ValueError(
            f"the architecture must begin with {', '.join(others)} or {last}, got {text!r}."
        )
    if address.asks_for_trained_weights:
        raise ValueError(
            f"the architecture {text!r} asks for trained weights, but its weights come from the "
            f"file: leave out {scheme.trained_key}=."
        )
    if address.preprocessing():
        raise ValueError(
            f"the architecture {text!r} must not say mean, std or size: these belong in the "
            "card's preprocessing, or in the query of the file's own address."
        )
    return address


def as_address(model: str | os.PathLike[str]) -> str:
    """Returns the address of what names a model: itself, or ``file:PATH`` for the path of a file.

    A string is a path if its name has a suffix (a query may follow) and it does not begin with a
    scheme; anything else is returned as it is, for `parse_address` to judge.

    Raises:
        ValueError: for a path object with a question mark, which would begin a query.

    Example:
        >>> as_address("zoo/mine.safetensors"), as_address("timm:resnet18")
        ('file:zoo/mine.safetensors', 'timm:resnet18')
    """
    if isinstance(model, os.PathLike):
        path = os.fspath(model)
        if "?" in path:
            raise ValueError(
                f"the path of a model must not contain a question mark, which begins the query "
                f"of an address, got {path!r}: rename the file."
            )
        return f"file:{path}"
    path = model.partition("?")[0]
    # One letter may be the drive of a path; a misspelt scheme is reported by parse_address.
    scheme = re.match(r"([A-Za-z]\w+):", path)
    if scheme and (scheme[1] in scheme_names() or not os.path.lexists(path)):
        return model
    return f"file:{model}" if Path(path).suffix else model


def with_query(text: str, values: Mapping[str, object]) -> str:
    """Returns an address whose query also has `values`, which `literal` reads as they are.

    Raises:
        ValueError: for a key that the address already has.
        TypeError: for a value that has no spelling in an address.

    Example:
        >>> with_query("timm:resnet18?seed=1", {"num_classes": 10, "mean": (0.5, 0.5, 0.5)})
        'timm:resnet18?seed=1&num_classes=10&mean=0.5,0.5,0.5'
    """
    given = parse_address(text).query
    for key, value in values.items():
        if key in given:
            raise ValueError(f"{key} is given twice, as an argument and in {text}: leave one out.")
        text += f"{'&' if '?' in text else '?'}{key}={quote(_spelled(key, value), safe=',:/')}"
    return text


def _spelled(key: str, value: object) -> str:
    if key in PREPROCESSING_KEYS and isinstance(value, list | tuple):
        return ",".join(repr(number) for number in value)
    if isinstance(value, str) and literal(value) == value:
        return value
    text = repr(value)
    if type(found := literal(text)) is not type(value) or found != value:
        raise TypeError(
            f"an argument of a model must be a number, a string, true, false, none, or a list or "
            f"tuple of them, got {key}={text[:80]}."
        )
    return text


def literal(text: str) -> object:
    """Returns the Python literal that `text` is (also true, false, none), or `text` itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Returns a sentence with the near misses of `name`, or nothing if there are none.

    Example:
        >>> did_you_mean("resnt18", ["resnet18", "vgg11"])
        ' Did you mean resnet18?'
    """
    # The search takes long over many or long names.
    short = [other for other in names if len(other) <= _LONG][:_MANY]
    near = difflib.get_close_matches(name, short, n=3) if len(name) <= _LONG else []
    return f" Did you mean {', '.join(near)}?" if near else ""

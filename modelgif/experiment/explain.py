"""What the keys of a configuration mean: types, defaults, choices and docstrings, as one text."""

import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from modelgif.experiment.config import Config

_WIDTH = 92
_PLAIN = {int: "whole number", float: "number", bool: "true or false", str: "string"}
_PLURAL = {int: "whole numbers", float: "numbers", str: "strings"}
# By the attribute of pydantic's metadata that states a bound.
_BOUNDS = {
    "ge": "at least {}",
    "gt": "above {}",
    "le": "at most {}",
    "lt": "below {}",
    "min_length": "at least {} long",
    "max_length": "at most {} long",
    "pattern": "matching {}",
}


@dataclass(frozen=True)
class Key:
    """One key of a configuration.

    Attributes:
        name: with dots, as an override has it; ``N`` stands for a position in a list.
        only: which of several alternatives has the key, such as ``kind: subset``; or empty.
        kind: its type, bounds and choices, in words.
        default: as it is written in YAML; None for a key that must be given.
        here: its value in the configuration at hand, or None if there is none of its own.
        meaning: from the docstring of its class; empty if that does not say.
    """

    name: str
    only: str
    kind: str
    default: str | None
    here: str | None
    meaning: str


def explain(config: Config | type[Config]) -> str:
    """Returns every key of a configuration with its meaning, default and choices, as text.

    Args:
        config: a configuration, whose values are stated where they are not the defaults, or a
            class of configurations.
    """
    blocks = []
    for key in keys_of(config):
        state = "must be given" if key.default is None else f"default {key.default}"
        if key.here is not None and key.here != key.default:
            state += f", here {key.here}"
        only = f" [with {key.only}]" if key.only else ""
        first = textwrap.fill(
            f"{key.name}{only}: {key.kind} ({state})", _WIDTH, subsequent_indent="        "
        )
        meaning = textwrap.fill(
            key.meaning, _WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 4
        )
        blocks.append(f"{first}\n{meaning}" if meaning else first)
    return "\n".join(blocks) + "\n"


def keys_of(config: Config | type[Config]) -> list[Key]:
    """Returns the keys of a configuration and of those inside it, in the order of the classes.

    Where a mapping of the same class comes again, with neither values nor defaults of its own, its
    keys are not repeated: its type says where they are.
    """
    if isinstance(config, type):
        return list(_keys(config, "", "", None, None, {}))
    return list(_keys(type(config), "", "", None, config, {}))


def _keys(
    cls: type[BaseModel],
    prefix: str,
    only: str,
    defaults: object,
    here: object,
    seen: dict[type[BaseModel], str],
) -> Iterator[Key]:
    """The keys of a class; `defaults` and `here` are its instances, where there are any."""
    meanings = _meanings(cls)
    for name, field in cls.model_fields.items():
        default = getattr(defaults, name) if isinstance(defaults, cls) else field.get_default()
        given = isinstance(defaults, cls) or not field.is_required()
        value = getattr(here, name) if isinstance(here, cls) else None
        models, many = _models(field.annotation)
        repeated = [
            model
            for model in models
            if model in seen and not isinstance(default, model) and not isinstance(value, model)
        ]
        as_in = f", with the keys of {', '.join(seen[model] for model in repeated)}"
        yield Key(
            f"{prefix}{name}",
            only,
            _kind(field) + (as_in if repeated else ""),
            _yaml(default, models) if given else None,
            _yaml(value, models) if isinstance(here, cls) and not models else None,
            meanings.get(name) or (_summary(cls) if name in _fixed(cls) else ""),
        )
        for model in (model for model in models if model not in repeated):
            seen.setdefault(model, f"{prefix}{name}")
            yield from _keys(
                model,
                f"{prefix}{name}.{'N.' if many else ''}",
                "; ".join(filter(None, [only, _alternative(model) if len(models) > 1 else ""])),
                default,
                value,
                seen,
            )


def _meanings(cls: type[BaseModel]) -> dict[str, str]:
    """What the docstrings of a class and its bases say of each attribute."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        _, _, section = inspect.cleandoc(base.__dict__.get("__doc__") or "").partition(
            "\nAttributes:\n"
        )
        entries = re.split(r"\n(?=\S)", section)[0]
        for entry in re.findall(r"^ {4}(\w+): (.*(?:\n {6,}.*)*)", entries, re.MULTILINE):
            found[entry[0]] = " ".join(entry[1].split())
    return found


def _models(annotation: Any) -> tuple[list[type[BaseModel]], bool]:
    """The classes of configurations in an annotation, and whether they are entries of a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation], False
    found: list[type[BaseModel]] = []
    many = get_origin(annotation) in (tuple, list)
    for argument in get_args(annotation):
        models, inside = _models(argument)
        found += [model for model in models if model not in found]
        many = many or inside
    return found, many


def _alternative(model: type[BaseModel]) -> str:
    """What tells a class from the others of its union: its required keys with fixed words."""
    fixed = [f"{name}: {' or '.join(words)}" for name, words in _fixed(model).items()]
    return ", ".join(fixed) or _summary(model)


def _fixed(cls: type[BaseModel]) -> dict[str, list[str]]:
    """The required keys of a class that take fixed words, such as the name of a recipe."""
    return {
        name: [str(word) for word in get_args(field.annotation)]
        for name, field in cls.model_fields.items()
        if get_origin(field.annotation) is Literal and field.is_required()
    }


def _summary(cls: type[BaseModel]) -> str:
    return (cls.__doc__ or cls.__name__).splitlines()[0]


def _kind(field: FieldInfo) -> str:
    return ", ".join([_words(field.annotation), *_bounds(field.metadata)])


def _words(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = FieldInfo.from_annotation(annotation)
        return _kind(inner)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_words(argument) for argument in arguments))
    if origin is Literal:
        return " | ".join(_yaml(choice, []) for choice in arguments)
    if origin in (tuple, list):
        entries = [argument for argument in arguments if argument is not Ellipsis]
        words = " and ".join(_PLURAL.get(entry) or _words(entry) for entry in entries)
        return f"list of {'mappings' if words == 'mapping' else words}"
    if annotation is NoneType:
        return "null"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if origin is dict:
        return f"mapping of strings to {_words(arguments[1])}"
    raise TypeError(f"a configuration has no words for the type {annotation!r}.")


def _bounds(metadata: list[Any]) -> list[str]:
    return [
        "not empty"
        if (name, getattr(entry, name)) == ("min_length", 1)
        else words.format(getattr(entry, name))
        for entry in metadata
        for name, words in _BOUNDS.items()
        if getattr(entry, name, None) is not None
    ]


def _yaml(value: Any, models: list[type[BaseModel]]) -> str:
    """A value as plain YAML in one line; of a mapping with keys of its own, that it is one."""
    if isinstance(value, BaseModel):
        return "as below"
    if models and value:
        return f"{len(value)} entries"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_yaml(entry, []) for entry in value)}]"
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w.@/:-]*", value):
        return value
    return json.dumps(value, ensure_ascii=False)

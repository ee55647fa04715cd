"""What is wrong with a configuration, in words that say the way out."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

Keys = tuple[str | int, ...]

# What a value must be, by pydantic's type of error, where its own words are those of Python.
_EXPECTED = {
    "int_type": "be a whole number",
    "float_type": "be a number",
    "bool_type": "be true or false",
    "string_type": "be a string",
    "list_type": "be a list",
    "tuple_type": "be a list",
    "dict_type": "be a mapping",
    "model_type": "be a mapping",
    "none_required": "be null",
}


class ConfigError(ValueError):
    """A configuration that cannot be used; the message holds one problem per line."""


def config_problems(
    model: type[BaseModel], data: Mapping[str, Any], error: ValidationError
) -> dict[Keys, str]:
    """Returns what is wrong with `data` according to `error`, by the keys that lead there.

    Each problem is one sentence, without the keys. A union's alternatives make one problem.

    Args:
        model: the class that refused the data.
        data: what was to be validated, with strings as keys, as in JSON.
        error: what the class raised.
    """
    grouped: dict[Keys, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        grouped.setdefault(_keys(detail, data), []).append(detail)
    return {keys: _problem(model, keys, details) for keys, details in grouped.items()}


def _keys(detail: ErrorDetails, data: Any) -> Keys:
    """The keys of an error's location, without the names that pydantic gives to alternatives."""
    keys: list[str | int] = []
    for part in detail["loc"]:
        items: Any = dict(enumerate(data)) if isinstance(data, list) else data
        if isinstance(items, Mapping) and part in items:
            keys.append(part)
            data = items[part]
    return (*keys, detail["loc"][-1]) if detail["type"] == "missing" else tuple(keys)


def _problem(model: type[BaseModel], keys: Keys, details: Sequence[ErrorDetails]) -> str:
    first = details[0]
    value = _short(first["input"])
    if first["type"] == "missing":
        required = [name for name, field in _fields(model, keys[:-1]) if field.is_required()]
        return f"missing; the keys that must be there are {', '.join(required)}."
    if first["type"] == "extra_forbidden":
        fields = _fields(model, keys[:-1])
        valid = [name for name, _ in fields]
        for name, field in fields:
            # Only where both keys are given is one of them left over.
            if keys[-1] in _names(field):
                return f"this key and {name} are names of one setting: give one of the two."
        hint = _near(keys[-1], valid) or f"the keys are {', '.join(valid)}."
        return f"unknown key, got {value}; {hint}"
    if first["type"] == "value_error" or " should " not in first["msg"]:
        return first["msg"].removeprefix("Value error, ")
    expected, *others = dict.fromkeys(
        _EXPECTED.get(detail["type"]) or re.sub(r"^\w+ should ", "", detail["msg"])
        for detail in details
    )
    alternatives = " or ".join([expected, *(other.removeprefix("be ") for other in others)])
    choices = [
        choice
        for detail in details
        if detail["type"] == "literal_error"
        for choice in re.findall("'(.*?)'", detail.get("ctx", {})["expected"])
    ]
    hint = _near(first["input"], choices)
    return f"must {alternatives}, got {value}{f'; {hint}' if hint else '.'}"


def _fields(model: type[BaseModel], keys: Keys) -> list[tuple[str, FieldInfo]]:
    """The fields of the models that `keys` lead to; several for a union of models."""
    models = [model]
    for key in keys:
        fields = [inner.model_fields[key] for inner in models if key in inner.model_fields]
        # A position in a list, or a key of a mapping, is not a field: the models stay.
        models = [inner for field in fields for inner in _models(field.annotation)] or models
    return [item for inner in models for item in inner.model_fields.items()]


def _names(field: FieldInfo) -> Sequence[str | int]:
    """The keys by which a field with several names may be called."""
    choices = field.validation_alias
    return [str(name) for name in choices.choices] if isinstance(choices, AliasChoices) else []


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _near(word: Any, known: Sequence[str]) -> str | None:
    near = difflib.get_close_matches(str(word), known, n=1)
    return f"did you mean {near[0]}?" if near else None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

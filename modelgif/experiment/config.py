"""Configurations: typed, frozen and closed, read from YAML."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelgif.data.image_data import DataName
from modelgif.experiment.config_error import ConfigError, Keys, config_problems
from modelgif.experiment.plain_yaml import (
    LARGEST_YAML,
    PlainYamlError,
    dump_yaml,
    parse_yaml,
)
from modelgif.fields.quadrature import Rule
from modelgif.storage.atomic import write_text
from modelgif.storage.field_store import Storage
from modelgif.storage.regular_file import missing_file


class Config(BaseModel):
    """A configuration; an unknown key, a string for a number, NaN and infinity are errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )


class FieldConfig(Config):
    """How a gradient field is computed and stored.

    Attributes:
        target: see `modelgif.resolve_target`.
        baseline: start of the path: one value for every pixel, or the training images' mean per
            channel.
        n_steps: nodes on the path.
        rule: quadrature rule, see `modelgif.quadrature`.
        cumulative: whether steps accumulate along the path.
        scale_by_path: whether the field is multiplied by ``x - x'``.
        dtype: precision of computation.
        storage: precision on disk, see `modelgif.storage.field_store.FieldHeader`.
    """

    target: Annotated[str, Field(min_length=1)] = "predicted_class"
    baseline: float | Literal["mean"] = "mean"
    n_steps: Annotated[int, Field(ge=1)] = 50
    rule: Rule = "gausslegendre"
    cumulative: bool = True
    scale_by_path: bool = True
    dtype: Literal["float32", "float64"] = "float32"
    storage: Storage = "float32"

    def options(self) -> dict[str, Any]:
        """Returns the arguments of `modelgif.extract` that need no data to be known."""
        options = self.model_dump(exclude={"target", "baseline"})
        return options | {"dtype": getattr(torch, self.dtype)}


class DataConfig(Config):
    """Which images, with the arguments of `modelgif.data.data.load_data`.

    Attributes:
        name: the data set.
        root: folder of its files; None where none is needed.
        download: whether missing files may be fetched into `root`.
        size: pixels per side to resize to; None keeps the data set's own size.
    """

    name: DataName
    root: Annotated[str, Field(min_length=1)] | None = None
    download: bool = False
    size: Annotated[int, Field(ge=1)] | None = None


ConfigT = TypeVar("ConfigT", bound=Config)


def load_config(
    cls: type[ConfigT], path: str | os.PathLike[str], overrides: Sequence[str] = ()
) -> ConfigT:
    """Returns the configuration of class `cls` in the file `path`.

    Args:
        cls: what the file must hold.
        path: of plain YAML, see `modelgif.experiment.plain_yaml`.
        overrides: such as ``field.n_steps=20``, with the value in YAML; the last one wins.

    Raises:
        ConfigError: naming everything that is wrong, one problem per line.
    """
    path = Path(path)
    data = _read(path, cls)
    problems: list[str] = []
    overridden: dict[Keys, str] = {}
    for override in overrides:
        try:
            overridden[_apply(override, data)] = override
        except ValueError as error:
            problems.append(f"override {override}: {error}")
    try:
        # In JSON, and only there, pydantic's strict mode takes a list where a tuple is asked for.
        config = cls.model_validate_json(json.dumps(data))
    except ValidationError as error:
        for keys, problem in config_problems(cls, data, error).items():
            source = _source(keys, overridden) or str(path)
            problems.append(": ".join(filter(None, (source, ".".join(map(str, keys)), problem))))
    else:
        if not problems:
            return config
    raise ConfigError("\n".join(problems))


def dump_config(config: Config, path: str | os.PathLike[str]) -> None:
    """Writes every value of `config`, defaults included, as YAML that loads to an equal one."""
    write_text(path, dump_yaml(config.model_dump(mode="json")))


def config_hash(config: Config) -> str:
    """Returns 10 hexadecimal digits that identify the values of `config`, defaults included.

    They begin the SHA-256 of its JSON with sorted keys and no spaces. Neither the order of keys nor
    the spelling of a number (``1`` or ``1.0``) matters.
    """
    text = json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _read(path: Path, cls: type[Config]) -> dict[str, Any]:
    if (note := missing_file(path)) is not None:
        folder = path if path.is_dir() else path.parent
        there = ", ".join(sorted(file.name for file in folder.glob("*.yaml"))) or "no *.yaml file"
        raise ConfigError(f"{path}: there is no such file{note}; {folder} holds {there}.")
    try:
        with path.open(encoding="utf-8") as file:
            data = parse_yaml(file.read(LARGEST_YAML + 1))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: must be text in UTF-8: {error}.") from error
    except PlainYamlError as error:
        raise ConfigError(f"{path}: {error}") from error
    keys = ", ".join(cls.model_fields)
    if data is None:
        raise ConfigError(f"{path}: the file is empty; its keys are {keys}.")
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must be a mapping with the keys {keys}, got {data!r}.")
    return data


def _apply(override: str, data: dict[str, Any]) -> Keys:
    """Puts the value of `override` into `data` and returns its keys."""
    name, equals, text = override.partition("=")
    words = name.strip().split(".")
    if not equals or not all(words):
        raise ValueError("must look like key=value or key.subkey=value.")
    value = parse_yaml(text)
    keys: list[str | int] = []
    inner: Any = data
    for word in words[:-1]:
        keys.append(_key(inner, word, keys))
        inner = inner.setdefault(word, {}) if isinstance(keys[-1], str) else inner[keys[-1]]
    keys.append(_key(inner, words[-1], keys))
    inner[keys[-1]] = value
    return tuple(keys)


def _key(inner: object, word: str, outer: Sequence[str | int]) -> str | int:
    """The key or the position that `word` means in the mapping or list found under `outer`."""
    name = ".".join(map(str, outer))
    if isinstance(inner, dict):
        return word
    if not isinstance(inner, list):
        raise ValueError(f"{name} is not a mapping but {inner!r}; override {name} as a whole.")
    if not word.isdecimal() or int(word) >= len(inner):
        raise ValueError(f"{name} has the entries 0 to {len(inner) - 1}, not {word!r}.")
    return int(word)


def _source(keys: Keys, overridden: Mapping[Keys, str]) -> str | None:
    """The last override that touched `keys`, what leads there, or what lies within."""
    source = None
    for changed, override in overridden.items():
        shared = min(len(keys), len(changed))
        if shared and keys[:shared] == changed[:shared]:
            source = f"override {override}"
    return source

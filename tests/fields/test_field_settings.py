import inspect
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields

import pytest
import torch

import modelgif as gif
from modelgif.experiment.config import FieldConfig
from modelgif.fields.field_settings import FieldSettings
from modelgif.storage.field_header import COMPARABLE

DEFAULTS = {entry.name: entry.default for entry in fields(FieldSettings) if entry.init}


@pytest.mark.parametrize(
    "function", [gif.gradient_field, gif.extract, gif.stream_distances, gif.sketch_model]
)
def test_public_functions_take_every_setting_with_one_default(function: Callable) -> None:
    parameters = inspect.signature(function).parameters
    taken = {name: parameters[name].default for name in DEFAULTS}
    # What describes many models does so in one precision.
    many = {} if function is gif.gradient_field else {"dtype": torch.float32}
    assert taken == DEFAULTS | many
    assert all(parameters[name].kind.name == "KEYWORD_ONLY" for name in DEFAULTS)


def test_configurations_have_every_setting_but_the_chunk_size_with_the_same_default() -> None:
    # Of the chunk size results do not depend, so that it is not configured.
    own = {name: entry.default for name, entry in FieldConfig.model_fields.items()}
    assert own.keys() - DEFAULTS.keys() == {"storage"}
    assert DEFAULTS.keys() - own.keys() == {"chunk_size"}
    differing = {name for name in own.keys() & DEFAULTS.keys() if own[name] != DEFAULTS[name]}
    assert differing == {"baseline", "dtype"}


def test_what_is_recorded_is_what_makes_fields_comparable() -> None:
    assert {*FieldSettings().record(), "references_sha256"} == set(COMPARABLE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "predicted_clas"}, "Did you mean 'predicted_class'"),
        ({"rule": "gauss"}, "rule must be one of"),
        ({"n_steps": 0}, "n_steps must be at least 1, got 0"),
        ({"chunk_size": 0}, "chunk_size must be at least 1, got 0"),
    ],
)
def test_settings_are_checked_when_they_are_made(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FieldSettings(**options)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        FieldSettings().n_steps = 3  # type: ignore[misc]

"""Recipes of training with defaults, so that a first try needs none."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydantic import PositiveFloat, PositiveInt

from modelgif.experiment.config import dump_config, load_config
from modelgif.experiment.config_error import ConfigError
from modelgif.experiment.training import TrainingConfig


class ScratchRecipe(TrainingConfig):
    """How to train from random weights; the defaults suit small networks and small images."""

    epochs: PositiveInt = 30
    learning_rate: PositiveFloat = 0.003


class FineTuneRecipe(TrainingConfig):
    """How to fine-tune an ancestor; the defaults change it moderately."""

    epochs: PositiveInt = 15
    learning_rate: PositiveFloat = 0.001


def load_recipe(
    path: str | os.PathLike[str] | None, overrides: Sequence[str] = (), *, fine_tune: bool
) -> TrainingConfig:
    """Returns the recipe in a YAML file, or the default one, with single values replaced.

    Args:
        path: of the file, whose missing keys have their defaults; None for the defaults alone.
        overrides: such as ``epochs=5``.
        fine_tune: whose defaults: `FineTuneRecipe`'s or `ScratchRecipe`'s.

    Raises:
        modelgif.experiment.config_error.ConfigError: naming everything that is wrong.

    Example:
        >>> load_recipe(None, ["epochs=5"], fine_tune=False).epochs
        5
    """
    recipe = FineTuneRecipe if fine_tune else ScratchRecipe
    if path is not None:
        return load_config(recipe, path, overrides)
    with tempfile.TemporaryDirectory() as folder:
        defaults = Path(folder, "default recipe")
        dump_config(recipe(), defaults)
        try:
            return load_config(recipe, defaults, overrides)
        except ConfigError as error:
            raise ConfigError(str(error).replace(f"{folder}{os.sep}", "the ")) from None

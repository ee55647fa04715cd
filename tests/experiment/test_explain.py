from typing import Annotated, Literal

import pytest
from pydantic import Field, PositiveInt

from intellectual_property_protection.config import IPPConfig
from model_selection.config import ModelSelectionConfig
from model_unlearning.config import UnlearningConfig
from modelgif.experiment.config import Config, load_config
from modelgif.experiment.explain import explain, keys_of
from modelgif.experiment.run import run_stage
from task_relatedness.config import TaskRelatednessConfig

TESTBEDS = (IPPConfig, TaskRelatednessConfig, UnlearningConfig, ModelSelectionConfig)


class Course(Config):
    """How to train.

    Attributes:
        epochs: how
            long.
        rates: which are tried.
    """

    epochs: PositiveInt = 3
    rates: Annotated[tuple[float, ...], Field(min_length=1)] = (0.1, 0.2)


class Pruned(Config):
    """A pruned copy.

    Attributes:
        share: of the weights.
    """

    kind: Literal["prune"]
    share: Annotated[float, Field(gt=0, lt=1)]


class Tuned(Config):
    """A tuned copy.

    Attributes:
        course: how it is tuned.
    """

    kind: Literal["tune", "retune"]
    course: Course


class Whole(Config):
    """Everything.

    Attributes:
        name: of the whole.
        course: first.
        later: second, which has another default.
        copies: made of it.
        note: or nothing.
    """

    name: str
    course: Course
    later: Course = Course(epochs=9)
    copies: tuple[Annotated[Pruned | Tuned, Field(discriminator="kind")], ...] = ()
    note: str | float | None = None


EXPLAINED = """\
name: string (must be given)
    of the whole.
course: mapping (must be given)
    first.
course.epochs: whole number, above 0 (default 3)
    how long.
course.rates: list of numbers, not empty (default [0.1, 0.2])
    which are tried.
later: mapping (default as below)
    second, which has another default.
later.epochs: whole number, above 0 (default 9)
    how long.
later.rates: list of numbers, not empty (default [0.1, 0.2])
    which are tried.
copies: list of mappings (default [])
    made of it.
copies.N.kind [with kind: prune]: prune (must be given)
    A pruned copy.
copies.N.share [with kind: prune]: number, above 0, below 1 (must be given)
    of the weights.
copies.N.kind [with kind: tune or retune]: tune | retune (must be given)
    A tuned copy.
copies.N.course [with kind: tune or retune]: mapping, with the keys of course (must be
        given)
    how it is tuned.
note: string or number or null (default null)
    or nothing.
"""


def test_every_key_is_explained():
    assert explain(Whole) == EXPLAINED


def test_values_that_are_not_the_defaults_are_stated():
    config = Whole(name="a b", course=Course(epochs=5), note=None)
    text = explain(config)
    assert 'name: string (must be given, here "a b")' in text
    assert "course.epochs: whole number, above 0 (default 3, here 5)" in text
    assert "later.epochs: whole number, above 0 (default 9)" in text


def leaves(cls, prefix=""):
    """The keys of a resolved configuration, found by another way: what it is written as."""
    for key, value in cls.model_dump(mode="json", by_alias=False).items():
        inner = getattr(cls, key)
        yield prefix + key
        if isinstance(inner, Config):
            yield from leaves(inner, f"{prefix}{key}.")
        elif value and isinstance(inner, tuple) and isinstance(inner[0], Config):
            for entry in inner:
                yield from leaves(entry, f"{prefix}{key}.N.")


@pytest.mark.parametrize("cls", TESTBEDS)
def test_every_key_of_every_testbed_has_a_meaning(cls):
    lacking = [f"{key.name} [{key.only}]" for key in keys_of(cls) if not key.meaning]
    assert lacking == [], f"{cls.__name__}: say in the docstring's Attributes what they are"


@pytest.mark.parametrize("cls", TESTBEDS)
def test_no_key_of_a_real_configuration_is_left_out(cls):
    testbed = cls.__module__.partition(".")[0]
    config = load_config(cls, f"{testbed}/configs/smoke.yaml")
    keys = {key.name for key in keys_of(config)}
    # Keys of a class that was explained before are found there.
    referred = {k.name: k.kind.partition("with the keys of ")[2] for k in keys_of(config)}
    for name in set(leaves(config)):
        outer, _, last = name.rpartition(".")
        shown = name in keys or any(
            f"{other}.{last}" in keys for other in referred.get(outer, "").split(", ")
        )
        assert shown, name


def never(_run):
    """Never runs."""
    raise AssertionError("it ran")


def test_the_option_prints_and_runs_nothing(tmp_path, capsys):
    path = tmp_path / "x.yaml"
    path.write_text("name: a\ncourse: {}\n")
    arguments = [str(path), "later.epochs=2", "--explain", "--runs", str(tmp_path / "runs")]
    run_stage(never, Whole, testbed="bed", arguments=arguments)
    printed = capsys.readouterr().out
    assert "later.epochs: whole number, above 0 (default 9, here 2)\n    how long.\n" in printed
    assert not (tmp_path / "runs").exists()

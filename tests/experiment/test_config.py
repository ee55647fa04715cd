import hashlib
import inspect
import re
from typing import Annotated, Literal, Self, get_args

import pytest
import torch
from pydantic import Field, ValidationError, model_validator

import modelgif
from modelgif.experiment.config import (
    Config,
    DataConfig,
    FieldConfig,
    config_hash,
    dump_config,
    load_config,
)
from modelgif.experiment.config_error import ConfigError
from modelgif.fields.quadrature import RULES


class Schedule(Config):
    epochs: Annotated[int, Field(ge=1)]
    lr: float = 0.1
    milestones: tuple[int, ...] = ()


class Pruning(Config):
    kind: Literal["prune"]
    share: Annotated[float, Field(gt=0, lt=1)]


class Quantisation(Config):
    kind: Literal["quantise"]
    bits: int


class Experiment(Config):
    data: DataConfig
    field: FieldConfig = FieldConfig()
    schedules: tuple[Schedule, ...] = ()
    recipes: dict[str, Schedule] = Field(default_factory=dict)
    warmup: Schedule | None = None
    attack: Annotated[Pruning | Quantisation, Field(discriminator="kind")] | None = None
    note: Literal["none", "some"] | float = "none"

    @model_validator(mode="after")
    def _check_warmup(self) -> Self:
        if self.warmup and not self.schedules:
            raise ValueError("warmup needs schedules to come before.")
        return self


@pytest.fixture
def load(tmp_path):
    def load_text(text, *overrides, cls=Experiment):
        path = tmp_path / "small.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(cls, path, overrides)

    return load_text


def problems(load, text, *overrides):
    with pytest.raises(ConfigError) as caught:
        load(text, *overrides)
    return [re.sub(r"^\S*/(?=small\.yaml)", "", line) for line in str(caught.value).split("\n")]


def test_values_defaults_and_nesting(load):
    config = load(
        "data: {name: digits}\n"
        "field:\n  baseline: 0\n"
        "schedules: [{epochs: 3, lr: 1e-3, milestones: [1, 2]}]\n"
    )
    assert config == Experiment(
        data=DataConfig(name="digits"),
        field=FieldConfig(baseline=0.0),
        schedules=(Schedule(epochs=3, lr=0.001, milestones=(1, 2)),),
    )
    assert isinstance(config.field.baseline, float)
    assert config.field.n_steps == 50


def test_configurations_are_frozen(load):
    config = load("data: {name: digits}")
    with pytest.raises(ValidationError, match="frozen"):
        config.data.name = "photos"


def test_the_field_rules_are_those_of_the_quadrature():
    assert set(get_args(FieldConfig.model_fields["rule"].annotation)) == set(RULES)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("field: {n_stps: 9}", "field.n_stps: unknown key, got 9; did you mean n_steps?"),
        (
            "warmup: {epochs: 1, zzz: 9}",
            "warmup.zzz: unknown key, got 9; the keys are epochs, lr, milestones.",
        ),
        (
            "schedules: [{epochs: 1}, {epochs: 1, lrr: 9}]",
            "schedules.1.lrr: unknown key, got 9; did you mean lr?",
        ),
        (
            "recipes: {plain: {epochs: 1, epoch: 9}}",
            "recipes.plain.epoch: unknown key, got 9; did you mean epochs?",
        ),
        ("field: {n_steps: '10'}", "field.n_steps: must be a whole number, got '10'."),
        ("field: {n_steps: 10.0}", "field.n_steps: must be a whole number, got 10.0."),
        ("field: {n_steps: true}", "field.n_steps: must be a whole number, got True."),
        ("field: {cumulative: 1}", "field.cumulative: must be true or false, got 1."),
        ("field: {cumulative: yes}", "field.cumulative: must be true or false, got 'yes'."),
        ("field: {target: 3}", "field.target: must be a string, got 3."),
        ("field: {target: ''}", "field.target: must have at least 1 character, got ''."),
        (
            "field: {n_steps: 0}",
            "field.n_steps: must be greater than or equal to 1, got 0.",
        ),
        (
            "field: {storage: flot32}",
            "field.storage: must be 'float32', 'float64' or 'float16_scaled', got 'flot32'; "
            "did you mean float32?",
        ),
        (
            "field: {baseline: men}",
            "field.baseline: must be a number or 'mean', got 'men'; did you mean mean?",
        ),
        ("field: {baseline: 1e999}", "field.baseline: must be a finite number or 'mean', got inf."),
        ("note: [1]", "note: must be 'none' or 'some' or a number, got [1]."),
        ("field: 3", "field: must be a mapping, got 3."),
        ("schedules: 3", "schedules: must be a list, got 3."),
        ("recipes: [1]", "recipes: must be a mapping, got [1]."),
        ("schedules: [{}]", "schedules.0.epochs: missing; the keys that must be there are epochs."),
        ("warmup: {epochs: 1}", "warmup needs schedules to come before."),
        (
            "attack: {kind: prune, share: 1}",
            "attack.share: must be less than 1, got 1.",
        ),
        (
            "attack: {kind: prun}",
            "attack: Input tag 'prun' found using 'kind' does not match any of the expected tags: "
            "'prune', 'quantise'",
        ),
        (
            f"field: {{target: [{'a' * 200}]}}",
            f"field.target: must be a string, got ['{'a' * 75}....",
        ),
    ],
)
def test_each_problem_names_file_key_value_and_way_out(load, text, problem):
    assert problems(load, f"data: {{name: digits}}\n{text}") == [f"small.yaml: {problem}"]


def test_missing_key(load):
    assert problems(load, "field: {}") == [
        "small.yaml: data: missing; the keys that must be there are data."
    ]


def test_all_problems_at_once(load):
    text = "data: {name: digts, size: 0}\nfield: {n_stps: 1}"
    assert problems(load, text, "nonsense", "field.dtype=float16") == [
        "override nonsense: must look like key=value or key.subkey=value.",
        "small.yaml: data.name: must be 'digits', 'photos', 'fashion_mnist', 'cifar10', "
        "'cifar100' or 'folder', got 'digts'; did you mean digits?",
        "small.yaml: data.size: must be greater than or equal to 1, got 0.",
        "override field.dtype=float16: field.dtype: must be 'float32' or 'float64', "
        "got 'float16'; did you mean float64?",
        "small.yaml: field.n_stps: unknown key, got 1; did you mean n_steps?",
    ]


def test_the_options_of_a_field_are_arguments_of_extract():
    options = FieldConfig(dtype="float64", n_steps=7).options()
    assert options["dtype"] is torch.float64
    assert options["n_steps"] == 7
    assert set(options) <= set(inspect.signature(modelgif.extract).parameters)
    assert set(FieldConfig.model_fields) == set(options) | {"target", "baseline"}


def test_overrides_change_add_and_replace(load):
    config = load(
        "data: {name: digits}\nnote: some",
        "field.n_steps=20",
        "data={name: photos, size: 16}",
        "schedules=[{epochs: 1}, {epochs: 2}]",
        "note=1e-3",
        "field.n_steps=30",
        "schedules.1.epochs=3",
    )
    assert config.field == FieldConfig(n_steps=30)
    assert config.data == DataConfig(name="photos", size=16)
    assert [schedule.epochs for schedule in config.schedules] == [1, 3]
    assert config.note == 0.001


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("field.n_step=2", "field.n_step: unknown key, got 2; did you mean n_steps?"),
        ("fild.n_steps=2", "fild: unknown key, got {'n_steps': 2}; did you mean field?"),
        ("field={n_steps: 0}", "field.n_steps: must be greater than or equal to 1, got 0."),
        (
            "data.name.x=1",
            "data.name is not a mapping but 'digits'; override data.name as a whole.",
        ),
        ("field.=1", "must look like key=value or key.subkey=value."),
        ("note=!!str x", "line 1: a YAML tag is not allowed here; write the plain value."),
    ],
)
def test_problems_of_an_override_name_it(load, override, problem):
    text = "data: {name: digits}"
    assert problems(load, text, override) == [f"override {override}: {problem}"]


@pytest.mark.parametrize("entry", ["2", "-1", "x"])
def test_an_override_of_an_entry_that_is_not_there_is_refused(load, entry):
    text = "data: {name: digits}\nschedules: [{epochs: 1}, {epochs: 2}]"
    problem = f"schedules has the entries 0 to 1, not '{entry}'."
    override = f"schedules.{entry}.epochs=1"
    assert problems(load, text, override) == [f"override {override}: {problem}"]


def test_a_good_override_takes_no_blame(load):
    lines = problems(load, "data: {name: digits}\nfield: {dtype: f}", "field.n_steps=2")
    assert len(lines) == 1
    assert lines[0].startswith("small.yaml: field.dtype: ")
    lines = problems(load, "data: {name: digits}\nwarmup: {epochs: 1}", "field.n_steps=2")
    assert lines == ["small.yaml: warmup needs schedules to come before."]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("# nothing\n", "the file is empty; its keys are epochs, lr, milestones."),
        ("- 1", "must be a mapping with the keys epochs, lr, milestones, got [1]."),
        ("lr: 1\nlr: 2", "line 2: the key 'lr' appears twice."),
        ("lr: [1", "line 1: unreadable YAML"),
    ],
)
def test_unusable_files(load, text, problem):
    with pytest.raises(ConfigError, match=r"small\.yaml: " + re.escape(problem)):
        load(text, cls=Schedule)


def test_a_file_that_is_not_utf8(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"note: \xe9")
    with pytest.raises(ConfigError, match=r"latin\.yaml: must be text in UTF-8"):
        load_config(Schedule, tmp_path / "latin.yaml")


def test_a_missing_file_names_those_that_are_there(tmp_path):
    with pytest.raises(ConfigError, match=r"x\.yaml: there is no such file; .* holds no \*\.yaml"):
        load_config(Schedule, tmp_path / "x.yaml")
    for name in ("smoke.yaml", "paper.yaml", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=r"holds paper\.yaml, smoke\.yaml\.$"):
        load_config(Schedule, tmp_path / "x.yaml")


def test_what_is_dumped_loads_to_the_equal_configuration(load, tmp_path):
    config = load(
        "data: {name: folder, root: '1e-3', size: 8}\n"
        "field: {baseline: 1e-7, target: 'no'}\n"
        "schedules: [{epochs: 1, milestones: [3]}]\n"
        "recipes: {'null': {epochs: 2}}"
    )
    dump_config(config, tmp_path / "dumped.yaml")
    assert load_config(Experiment, tmp_path / "dumped.yaml") == config
    assert "n_steps: 50" in (tmp_path / "dumped.yaml").read_text()


def test_the_hash_depends_on_values_alone(load):
    recipes = "recipes: {a: {epochs: 1}, b: {epochs: 2}}"
    config = load(f"data: {{name: digits}}\nfield: {{baseline: 0, n_steps: 50}}\n{recipes}")
    same = load(
        "recipes: {b: {epochs: 2}, a: {epochs: 1}}\n"
        "field: {baseline: 0.0}\ndata: {size: null, name: digits}"
    )
    other = load(f"data: {{name: digits}}\nfield: {{baseline: 0, n_steps: 51}}\n{recipes}")
    assert config == same
    assert config_hash(config) == config_hash(same) != config_hash(other)


def test_the_hash_is_that_of_canonical_json():
    text = '{"epochs":3,"lr":0.1,"milestones":[1,2]}'
    expected = hashlib.sha256(text.encode()).hexdigest()[:10]
    assert config_hash(Schedule(epochs=3, milestones=(1, 2))) == expected

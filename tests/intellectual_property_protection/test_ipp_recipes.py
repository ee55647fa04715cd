"""Recipes: what each declares, and that the builder does what is declared."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.models.build import ModelBuilder
from intellectual_property_protection.models.data_splits import halves
from intellectual_property_protection.recipes import OWN_RECIPES, RECIPES
from intellectual_property_protection.zoo import roster
from modelgif.data.data import load_data
from modelgif.experiment.config import load_config

CONFIG = "intellectual_property_protection/configs/smoke.yaml"


def test_every_recipe_is_declared_once_and_named_by_its_key():
    assert all(recipe.name == name for name, recipe in RECIPES.items())
    assert "transfer" in set(RECIPES) - set(OWN_RECIPES)


def test_what_the_recipes_of_published_zoos_declare():
    names = {
        *("scratch", "adversarial", "finetune_all", "finetune_last", "prune", "fine_prune"),
        *("extract_label", "extract_probability", "extract_adversarial"),
        *("transfer_all", "transfer_last"),
    }

    def those(holds):
        return {name for name in names if holds(RECIPES[name])}

    assert names <= set(OWN_RECIPES)

    pruning = {"prune", "fine_prune"}
    transfers = {"transfer_all", "transfer_last"}
    inheriting = {"finetune_all", "finetune_last", *pruning, *transfers}
    assert those(lambda r: not r.has_parent) == {"scratch", "adversarial"}
    assert those(lambda r: r.keeps_architecture) == inheriting
    assert those(lambda r: r.needs_ratio) == pruning
    assert those(lambda r: r.label_set == "transfer") == transfers
    assert those(lambda r: r.layers == "last") == {"finetune_last", "transfer_last"}
    assert those(lambda r: r.training == "adversarial") == {"adversarial", "extract_adversarial"}


def test_every_recipe_is_documented():
    page = Path(__file__).parents[2] / "intellectual_property_protection" / "README.md"
    text = page.read_text(encoding="utf-8")
    for name in RECIPES:
        assert f"| `{name}` |" in text, (
            f"intellectual_property_protection/README.md has no row for the recipe {name}: run "
            "python -m docs.fill"
        )


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("extract_label", {"change": torch.nn.init.zeros_}, "only a copy of the parent"),
        ("finetune_all", {"needs_ratio": True}, "ratios and options belong to a change"),
        ("scratch", {"layers": "last"}, "random weights are all trained"),
    ],
)
def test_declarations_that_contradict_themselves_are_refused(name, changes, message):
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        replace(RECIPES[name], **changes)


@pytest.mark.slow
def test_a_new_recipe_needs_nothing_but_its_declaration(monkeypatch):
    seen = {}

    def noise(model, images, *, generator, ratio, layers):
        seen.update(
            n=len(images),
            drawn=torch.rand(1, generator=generator).item(),
            ratio=ratio,
            layers=layers,
        )
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1 + ratio)

    declared = replace(
        RECIPES["prune"],
        name="scaled",
        change=noise,
        change_options={"layers": "fine_prune_layers"},
        layers="last",
        adversarial=True,
    )
    monkeypatch.setattr(
        "intellectual_property_protection.member.RECIPES", {**RECIPES, "scaled": declared}
    )
    config = load_config(IPPConfig, CONFIG, ["device=cpu", "recipes.adversarial.epochs=1"])
    member = replace(
        next(m for m in roster(config) if m.recipe == "prune"), recipe="scaled", ratio=0.5
    )
    assert member.training == "adversarial"
    assert member.attack == "scaled"
    data = load_data("digits")
    builder = ModelBuilder(
        config.recipes, config.seed, data, halves(config, data), None, torch.device("cpu")
    )
    victim = builder.build(roster(config)[0], None)
    before = {name: value.clone() for name, value in victim.state_dict().items()}
    model = builder.build(member, victim)
    drawn = seen.pop("drawn")
    assert seen == {"n": 500, "ratio": 0.5, "layers": "last"}
    # A model depends on the seed and its name alone.
    builder.build(member, victim)
    assert seen["drawn"] == drawn
    assert all(value.equal(before[name]) for name, value in victim.state_dict().items())
    assert isinstance(model, nn.Module)
    assert all(weight.requires_grad for weight in model.parameters())

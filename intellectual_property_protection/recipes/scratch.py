"""Honest training: from random weights, on data of one's own."""

from intellectual_property_protection.recipe import Recipe

RECIPES = (
    Recipe(
        name="scratch",
        does="trained from random weights",
        family="honest",
        start="random",
        settings="scratch",
    ),
    Recipe(
        name="adversarial",
        does="trained from random weights, then adversarially",
        family="honest",
        start="random",
        settings="scratch",
        adversarial=True,
    ),
)

"""How models of the zoo are made: each file declares some recipes, and nothing else lists them."""

from collections.abc import Mapping
from types import MappingProxyType

from intellectual_property_protection.recipe import Recipe
from modelgif.methods.registry import modules_of

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {recipe.name: recipe for file in modules_of(__name__, __path__) for recipe in file.RECIPES}
)
# What a configuration can ask for.
OWN_RECIPES = tuple(name for name, recipe in RECIPES.items() if not recipe.is_published_only)

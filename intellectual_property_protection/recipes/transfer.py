"""Transfer: the victim's features under a new last layer, trained for another label set."""

from intellectual_property_protection.recipe import Recipe

RECIPES = (
    Recipe(
        name="transfer_all",
        does="its features under a new last layer, all layers trained for other labels",
        family="transferred",
        start="parent's features",
        settings="transfer",
        label_set="transfer",
    ),
    Recipe(
        name="transfer_last",
        does="its features under a new last layer, which alone is trained for other labels",
        family="transferred",
        start="parent's features",
        layers="last",
        settings="transfer",
        label_set="transfer",
    ),
    Recipe(
        name="transfer",
        does="transferred by others, in a published zoo that does not say which layers",
        family="transferred",
        start="parent's features",
        layers=None,
        settings="transfer",
        label_set="transfer",
    ),
)

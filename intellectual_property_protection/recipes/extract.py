"""Extraction: another network, of any architecture, trained on the victim's outputs."""

from intellectual_property_protection.recipe import Recipe

RECIPES = (
    Recipe(
        name="extract_label",
        does="another network trained on its labels",
        family="extracted",
        start="random",
        targets="parent's labels",
        settings="extract",
    ),
    Recipe(
        name="extract_probability",
        does="another network trained on its probabilities",
        family="extracted",
        start="random",
        targets="parent's probabilities",
        settings="extract",
    ),
    Recipe(
        name="extract_adversarial",
        does="another network trained on its labels, then adversarially",
        family="extracted",
        start="random",
        targets="parent's labels",
        settings="extract",
        adversarial=True,
    ),
)

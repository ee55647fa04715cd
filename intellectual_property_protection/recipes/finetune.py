"""Fine-tuning: the victim's weights, trained further on the attacker's data."""

from intellectual_property_protection.recipe import Recipe

RECIPES = (
    Recipe(
        name="finetune_all",
        does="trained further, all layers",
        family="fine-tuned",
        start="parent",
        settings="finetune",
    ),
    Recipe(
        name="finetune_last",
        does="trained further, the last layer only",
        family="fine-tuned",
        start="parent",
        layers="last",
        settings="finetune",
    ),
)

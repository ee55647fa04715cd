"""Roles and recipes: the words of the zoo's table."""

from typing import Literal

# What a model is used for. An honest suspect is made from scratch; surrogates are made from the
# victim to choose references by, and are never test cases.
Role = Literal["victim", "suspect", "independent", "surrogate"]

# How a model is made, in a zoo of our own.
OwnRecipe = Literal[
    "scratch",
    "adversarial",
    "finetune_all",
    "finetune_last",
    "prune",
    "fine_prune",
    "extract_label",
    "extract_probability",
    "extract_adversarial",
    "transfer_all",
    "transfer_last",
]

# Of a published transfer it is not known which layers were trained.
Recipe = OwnRecipe | Literal["transfer"]

# Whose half of the training images a model learns.
Data = Literal["victim", "other"]

# What a model is trained for, beside accuracy: small perturbations, or nothing else.
Training = Literal["standard", "adversarial"]

FRESH = ("scratch", "adversarial")  # no parent
PRUNING = ("prune", "fine_prune")
EXTRACTING = ("extract_label", "extract_probability", "extract_adversarial")
TRANSFERRING = ("transfer_all", "transfer_last")
INHERITING = ("finetune_all", "finetune_last", *PRUNING, *TRANSFERRING)  # the parent's weights
ADVERSARIAL = ("adversarial", "extract_adversarial")

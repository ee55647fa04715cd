"""The examples of the docstrings."""

import doctest
import importlib
import pkgutil

import pytest

import modelgif.lineage

MODULES = [module.name for module in pkgutil.iter_modules(modelgif.lineage.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name):
    found = doctest.testmod(importlib.import_module(f"modelgif.lineage.{name}"))
    assert found.failed == 0

"""The registry of rival methods, on made-up files."""

from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch

from modelgif.methods import METHODS
from modelgif.methods.registry import in_order, methods_in


def file_of(name: str, *methods: Any) -> ModuleType:
    module = ModuleType(name)
    module.METHODS = methods  # pyright: ignore[reportAttributeAccessIssue]
    return module


def test_methods_are_read_from_the_files_and_those_without_are_passed_over() -> None:
    other = replace(METHODS["sac"], name="other", access="weights")
    found = methods_in([file_of("b", other), ModuleType("tools"), file_of("a", METHODS["labels"])])
    assert list(found) == ["other", "labels"]
    assert list(in_order(found)) == ["labels", "other"]


def test_two_methods_of_one_name_are_refused_with_both_files() -> None:
    with pytest.raises(ValueError, match="a and b both declare the method sac: rename one"):
        methods_in([file_of("a", METHODS["sac"]), file_of("b", METHODS["sac"])])


def test_anything_but_a_method_is_refused() -> None:
    with pytest.raises(TypeError, match="METHODS of a must hold instances of Method, got 'sac'"):
        methods_in([file_of("a", "sac")])


def test_higher_is_nearer_where_a_method_says_so() -> None:
    labels = METHODS["labels"]
    turned = replace(labels, nearer="higher")
    a, b = torch.tensor([1, 2]), torch.tensor([1, 3])
    assert (labels.distance(a, b), turned.distance(a, b)) == (0.5, -0.5)
    assert turned.distances(a, b).tolist() == [0, -1]


def test_declarations_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels: bounds must rise, got \(1, 0\)"):
        replace(METHODS["labels"], bounds=(1, 0))
    with pytest.raises(ValueError, match="labels: a method that makes its own references"):
        replace(METHODS["labels"], prepare=METHODS["ipguard"].prepare)
    with pytest.raises(TypeError, match="sac compares references as a set: use distance"):
        METHODS["sac"].distances(None, None)


def test_a_method_prepares_the_arguments_of_every_description() -> None:
    x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))

    def victim(z: torch.Tensor) -> torch.Tensor:
        return torch.stack([z.sum((1, 2, 3)), 8 - z.sum((1, 2, 3))], 1)

    def given(name: str) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(1)
        return METHODS[name].arguments(victim, x, baseline=0.5, generator=generator)

    assert given("sac_labels").keys() == {"references", "answer"}
    assert given("saliency").keys() == {"references"}
    assert given("gradient_input")["baseline"] == 0.5
    assert given("model_diff").keys() == {"references", "twins"}
    points = given("ipguard")["references"]
    assert points.shape[1:] == x.shape[1:]
    assert not torch.equal(points, x[: len(points)])

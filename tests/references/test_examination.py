import pytest
import torch
from torch import Tensor

from modelgif.references.examination import MIN_REFERENCES, examine_references
from modelgif.references.references import References


def draw(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def named(images: Tensor) -> References:
    return References(images, tuple(f"ref/{i}" for i in range(len(images))))


def test_distinct_images_are_all_kept() -> None:
    found = examine_references(named(draw(MIN_REFERENCES)), baseline=0.5)
    assert found.keep == tuple(range(MIN_REFERENCES))
    assert found.enough
    assert found.dropped == {}
    assert found.notes == ()


def test_one_image_under_64_names_is_one_reference() -> None:
    found = examine_references(named(draw(1).expand(64, -1, -1, -1)))
    assert found.keep == (0,)
    assert not found.enough
    assert set(found.dropped.values()) == {"a copy of ref/0"}
    assert "63 of 64 references say nothing" in found.notes[0]
    assert "and 60 more). Give other images" in found.notes[0]
    assert "1 distinct references are too few for a decision: give at least 16" in found.notes[1]


def test_nearly_equal_images_are_copies() -> None:
    images = draw(20)
    images[7] = (images[3] * 255).round() / 255
    images[9] = (images[3] + 0.004 * torch.randn(3, 8, 8)).clamp(0, 1)
    images[11] = 0.9 * images[3]
    found = examine_references(named(images))
    assert found.dropped == {
        "ref/7": "nearly a copy of ref/3",
        "ref/9": "nearly a copy of ref/3",
    }
    assert 11 in found.keep
    assert found.enough


@pytest.mark.parametrize("kind", ["number", "image", "each"])
def test_images_equal_to_the_baseline_have_no_path(kind: str) -> None:
    images = draw(20)
    if kind == "number":
        images[4] = 0.5
    baseline = {"number": 0.5, "image": images[4].clone(), "each": images.roll(1, 0)}[kind]
    if kind == "each":
        baseline[4] = images[4]
    found = examine_references(named(images), baseline=baseline)
    assert found.dropped == {"ref/4": "equal to the baseline"}
    assert "or a baseline that is none of them" in found.notes[0]


def test_where_all_are_the_baseline_nothing_is_left() -> None:
    found = examine_references(named(torch.full((20, 3, 8, 8), 0.5)), baseline=0.5)
    assert found.keep == ()
    assert not found.enough


def test_images_of_one_colour_are_left_out() -> None:
    images = draw(20)
    images[2] = torch.tensor([0.2, 0.9, 0.4]).reshape(3, 1, 1)
    images[5] = 1.0
    found = examine_references(named(images))
    assert found.dropped == {"ref/2": "of one colour", "ref/5": "of one colour"}


def test_inputs_that_are_no_images_are_examined_too() -> None:
    rows = torch.rand(20, 30, generator=torch.Generator().manual_seed(0))
    rows[3] = rows[1]
    rows[6] = 0.3
    found = examine_references(named(rows))
    assert found.dropped == {"ref/3": "a copy of ref/1", "ref/6": "of one colour"}


@pytest.mark.parametrize("scale", [1e-2, 255.0])
def test_the_scale_of_values_does_not_matter_and_is_noted(scale: float) -> None:
    images = draw(20)
    images[7] = images[3]
    found = examine_references(named(images * scale))
    assert found.dropped == {"ref/7": "a copy of ref/3"}
    outside = [note for note in found.notes if "pixels in [0, 1]" in note]
    assert len(outside) == (scale > 1)


def test_images_that_are_not_finite_are_refused_by_name() -> None:
    images = draw(4)
    images[2, 0, 3, 3] = torch.inf
    with pytest.raises(ValueError, match=r"the reference ref/2 holds NaN or infinity: leave it"):
        examine_references(named(images))


def test_a_minimum_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="min_references must be at least 1, got 0"):
        examine_references(named(draw(2)), min_references=0)


def coverage(n: int, trials: int = 400, draws: int = 200) -> float:
    """How often the 95 % percentile interval of a mean of n skewed numbers holds the true one."""
    numbers = torch.distributions.Beta(0.5, 2.0)
    torch.manual_seed(0)
    sample = numbers.sample((trials, n))
    picked = torch.randint(n, (trials, draws, n))
    means = sample[:, None].expand(-1, draws, -1).gather(2, picked).mean(2)
    low, high = means.quantile(torch.tensor([0.025, 0.975]), dim=1)
    return ((low <= 0.2) & (high >= 0.2)).double().mean().item()


def test_below_the_minimum_the_interval_over_references_says_too_much() -> None:
    # Distances at references are skewed; the interval should hold the mean in 95 of 100 cases.
    assert coverage(4) < 0.8
    assert coverage(8) < 0.88
    assert coverage(MIN_REFERENCES) > 0.87
    assert coverage(64) > 0.92

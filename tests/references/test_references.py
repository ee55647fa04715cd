import pytest
import torch
from torch import Tensor

from modelgif.references.references import (
    References,
    cutmix,
    derangement,
    misclassified,
    random_references,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def references() -> References:
    return References(torch.rand(3, 2, 4, 5, generator=seeded()), ("a", "b", "c"))


def test_digest_depends_on_content_alone(references: References) -> None:
    images, ids = references.images, references.ids
    assert len(references) == 3
    same = images.transpose(2, 3).contiguous().transpose(2, 3)
    assert References(same, ids).sha256() == references.sha256()
    others = [
        References(images + 1e-6, ids),
        References(images.flip(0), ids),
        References(images, ("a", "c", "b")),
        References(images.reshape(3, 2, 5, 4), ids),
    ]
    assert references.sha256() not in {other.sha256() for other in others}


@pytest.mark.parametrize(
    ("shape", "ids", "message"),
    [
        ((3, 2), ("a", "b"), r"one id per reference, got images \[3, 2\] and 2 ids"),
        ((3,), ("a", "b", "c"), r"one id per reference, got images \[3\]"),
        ((0, 2), (), "and 0 ids"),
        ((3, 2), ("a", "b", "a"), "must be unique, got 'a' more than once"),
    ],
)
def test_refused_references(shape: tuple[int, ...], ids: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        References(torch.zeros(shape), ids)


def test_random_references_are_distinct_named_and_nested() -> None:
    images = torch.arange(20.0)[:, None]
    ids = [f"test/{i}" for i in range(20)]
    large = random_references(images, ids, 15, generator=seeded())
    small = random_references(images, ids, 6, generator=seeded())
    assert large.ids == tuple(f"test/{int(i)}" for i in large.images[:, 0])
    assert len(set(large.ids)) == 15
    assert small.ids == large.ids[:6]
    assert torch.equal(small.images, large.images[:6])
    assert random_references(images, ids, 15, generator=seeded(1)).ids != large.ids


@pytest.mark.parametrize("count", [0, 21])
def test_more_references_than_images_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=rf"count must lie in 1\.\.20 .*, got {count}"):
        random_references(
            torch.zeros(20, 1), [str(i) for i in range(20)], count, generator=seeded()
        )


def test_derangements_move_everything_and_are_all_reached() -> None:
    generator = seeded()
    seen: dict[tuple[int, ...], int] = {}
    for _ in range(900):
        permutation = tuple(derangement(4, generator=generator).tolist())
        assert sorted(permutation) == [0, 1, 2, 3]
        assert all(i != j for i, j in enumerate(permutation))
        seen[permutation] = seen.get(permutation, 0) + 1
    assert len(seen) == 9  # the number of derangements of four
    assert min(seen.values()) > 60
    with pytest.raises(ValueError, match="at least 2 references, got 1"):
        derangement(1, generator=generator)


@pytest.fixture
def mixed() -> Tensor:
    """1500 mixed images; before, all pixels of image i were i."""
    images = torch.arange(1500.0).reshape(-1, 1, 1, 1).expand(-1, 2, 24, 20)
    return cutmix(images, generator=seeded())


def test_cutmix_pastes_one_box_of_one_other_image(mixed: Tensor) -> None:
    for i, image in enumerate(mixed):
        assert torch.equal(image[0], image[1])
        pasted = image[0] != i
        assert len(image[0][pasted].unique()) <= 1
        rows, columns = pasted.any(1), pasted.any(0)
        assert torch.equal(pasted, rows[:, None] & columns)
        for inside in (rows, columns):  # one run, not two
            assert inside.int().diff().abs().sum() <= 2


def test_cutmix_boxes_have_the_size_that_the_recipe_says(mixed: Tensor) -> None:
    pasted = (mixed[:, 0] != torch.arange(1500.0)[:, None, None]).double().mean((1, 2))
    # With side s = √(1 - λ) (density 2s), each axis keeps s - s²/4 after cutting at the border;
    # ∫ 2s (s - s²/4)² ds = 77/240.
    assert pasted.mean().item() == pytest.approx(77 / 240, abs=0.02)
    assert pasted.max() > 0.9


def test_cutmix_leaves_its_input_and_is_repeatable() -> None:
    images = torch.rand(6, 3, 8, 8, generator=seeded())
    before = images.clone()
    first, second = (cutmix(images, generator=seeded(1)) for _ in range(2))
    assert torch.equal(images, before)
    assert torch.equal(first, second)
    assert not torch.equal(first, images)
    with pytest.raises(ValueError, match=r"cutmix needs images \[N, C, H, W\], got \[6, 3\]"):
        cutmix(torch.zeros(6, 3), generator=seeded())


@pytest.mark.cuda
def test_cutmix_on_cuda_is_the_same() -> None:
    images = torch.rand(6, 3, 8, 8, generator=seeded())
    torch.testing.assert_close(
        cutmix(images.cuda(), generator=seeded(1)).cpu(), cutmix(images, generator=seeded(1))
    )


def test_misclassified_rows_are_those_whose_class_is_wrong() -> None:
    predictions, labels = torch.randint(3, (2, 500), generator=seeded())
    rows = misclassified(predictions, labels)
    assert rows.tolist() == [i for i in range(500) if predictions[i] != labels[i]]
    assert rows.dtype == torch.int64
    assert misclassified(labels, labels.int()).shape == (0,)


@pytest.mark.parametrize(
    ("predictions", "labels"),
    [
        (torch.zeros(4, 3), torch.zeros(4, dtype=torch.long)),
        (torch.zeros(4), torch.zeros(4, dtype=torch.long)),
        (torch.zeros(4, dtype=torch.long), torch.zeros(3, dtype=torch.long)),
        (torch.zeros(4, 1, dtype=torch.long), torch.zeros(4, 1, dtype=torch.long)),
    ],
)
def test_scores_and_unlike_lengths_have_no_misclassified_rows(
    predictions: Tensor, labels: Tensor
) -> None:
    with pytest.raises(ValueError, match="one predicted class and one label per image, got"):
        misclassified(predictions, labels)

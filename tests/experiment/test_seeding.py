import pytest
import torch

from modelgif.experiment.seeding import derive_seed, resolve_device, seeded_generator


def test_seeds_depend_on_seed_and_names_only():
    assert derive_seed(0, "a", 1) == derive_seed(0, "a", 1)
    others = [derive_seed(1, "a", 1), derive_seed(0, "b", 1), derive_seed(0, "a", 2)]
    assert len({derive_seed(0, "a", 1), *others}) == 4


def test_a_generator_starts_at_its_seed():
    first, second = (torch.rand(3, generator=seeded_generator(3, "x")) for _ in range(2))
    assert torch.equal(first, second)


def test_auto_is_cuda_where_there_is_one():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_missing_cuda_device_is_named():
    with pytest.raises(ValueError, match="finds no CUDA device; use device=auto or cpu"):
        resolve_device("cuda")

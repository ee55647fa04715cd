import pytest
import torch

from modelgif.experiment.private_seeds import private_seeds
from modelgif.lineage import USUAL_SEEDS


def test_seeds_are_distinct_and_do_not_depend_on_their_number():
    seeds = private_seeds(0, 500)
    assert len(set(seeds)) == 500
    assert private_seeds(0, 20) == seeds[:20]
    assert not set(private_seeds(1, 500)) & set(seeds)


def test_no_seed_is_a_usual_one_even_as_torch_reads_it():
    def first(seed):
        return torch.rand(4, generator=torch.Generator().manual_seed(seed))

    # The trap: the CPU generator takes 32 bits of a seed.
    assert torch.equal(first(2**32 + 42), first(42))
    assert max(USUAL_SEEDS) < 10**9
    for seed in private_seeds(42, 200):
        assert 10**9 <= seed < 2**32


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        private_seeds(-1, 3)

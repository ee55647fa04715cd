import pytest
import torch
from torch import nn

from modelgif.fields.batch_size import in_chunks, micro_batch, saved_bytes
from modelgif.fields.gradient_field import gradient_field


def test_the_batch_on_the_cpu_falls_with_the_size_of_the_input():
    shapes = [(64,), (1, 28, 28), (3, 32, 32), (3, 224, 224)]
    sizes = [micro_batch(lambda x: x, torch.zeros(1, *shape)) for shape in shapes]
    assert sizes == [512, 128, 64, 4]


def test_ranges_cover_everything_once():
    seen = []
    assert in_chunks(10, 4, lambda first, stop: seen.append((first, stop))) == 4
    assert seen == [(0, 4), (4, 8), (8, 10)]
    assert in_chunks(0, 4, lambda first, stop: seen.append((first, stop))) == 4
    assert len(seen) == 3


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ],
)
def test_ranges_are_halved_where_memory_runs_out(error):
    seen = []

    def work(first, stop):
        if stop - first > 3:
            raise error
        seen.append((first, stop))

    assert in_chunks(10, 13, work) == 2
    assert seen == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]


def test_no_memory_for_one_is_an_error():
    def work(first, stop):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        in_chunks(10, 8, work)


def test_other_errors_pass_at_once():
    calls = []

    def work(first, stop):
        calls.append(first)
        raise RuntimeError("The size of tensor a must match")

    with pytest.raises(RuntimeError, match="must match"):
        in_chunks(10, 8, work)
    assert calls == [0]


@pytest.mark.parametrize("target", ["predicted_class", "output_sum"])
def test_a_field_is_the_same_when_memory_runs_out(target):
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    x = torch.rand(7, 6)
    seen = []

    class Small(nn.Module):
        """A device that takes batches of three."""

        def forward(self, batch):
            seen.append(len(batch))
            if len(batch) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return model(batch)

    field = gradient_field(Small(), x, target=target, n_steps=5)
    torch.testing.assert_close(field, gradient_field(model, x, target=target, n_steps=5))
    assert max(seen) > 3


def test_what_a_pass_keeps_is_counted():
    class Squares(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1000))

        def forward(self, x):
            # Of each square its argument is kept, of the product both factors; the weight is
            # there anyway.
            return ((x.square() + 1).square() * self.weight).sum(1)

    x = torch.rand(2, 1000)
    model = Squares().requires_grad_(False)
    assert saved_bytes(model, x) == 2 * 2 * 1000 * 4
    # A linear function keeps nothing, and its input takes room all the same.
    assert saved_bytes(lambda z: 2 * z, x) == 2 * 1000 * 4
    assert x.grad is None


def test_activations_of_a_network_are_counted():
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3))
    layers.requires_grad_(False)
    x = torch.rand(1, 3, 16, 16)
    # The ReLU's output; frozen convolutions need their weights alone.
    assert saved_bytes(layers, x) >= 8 * 16 * 16 * 4
    once, twice = saved_bytes(layers, x), saved_bytes(layers, x.repeat(2, 1, 1, 1))
    assert twice == 2 * once


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_batch_fits_into_the_memory_of_a_device():
    model = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Flatten()).cuda()
    x = torch.rand(1, 3, 32, 32, device="cuda")
    size = micro_batch(model, x)
    free, _ = torch.cuda.mem_get_info()
    assert 1 <= size <= 4096
    assert size * saved_bytes(model, x) <= free

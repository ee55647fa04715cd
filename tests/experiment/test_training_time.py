import pytest
import torch
from torch import nn

from modelgif.experiment import training_time
from modelgif.experiment.training import TrainingConfig
from modelgif.experiment.training_time import seconds_per_step

IMAGES, LABELS = torch.rand(8, 1, 4, 4), torch.arange(8) % 2
CONFIG = TrainingConfig(epochs=3, batch_size=8, learning_rate=0.01)


def test_the_median_step_is_measured_on_one_thread(monkeypatch):
    clock = iter([0, 3, 10, 11, 20, 22, 30, 35, 40, 44])
    monkeypatch.setattr(training_time.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(training_time, "_MOST_SECONDS", 100.0)
    threads = []

    class Noting(nn.Flatten):
        def forward(self, input):
            threads.append((torch.get_num_threads(), len(input)))
            return super().forward(input)

    model = nn.Sequential(Noting(), nn.Linear(16, 2))
    before = torch.get_num_threads()
    # Steps of 3, 1, 2, 5 and 4 seconds.
    assert seconds_per_step(model, IMAGES, LABELS, CONFIG, n_images=19) == 3
    assert torch.get_num_threads() == before
    # First the last batch, of 19 - 2 * 8 images.
    assert threads == [(1, 3), *[(1, 8)] * 6]


def test_slow_steps_are_not_repeated(monkeypatch):
    clock = iter([0, 7, 8, 100])
    monkeypatch.setattr(training_time.time, "perf_counter", lambda: next(clock))
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    assert seconds_per_step(model, IMAGES, LABELS, CONFIG, n_images=8) == 7


def test_a_last_batch_that_cannot_be_normalised_is_found_before_training():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 2))
    with pytest.raises(
        ValueError, match=r"9 images \[1, 4, 4\] in batches of 8, the last of 1: Ex"
    ):
        seconds_per_step(model, IMAGES, LABELS, CONFIG, n_images=9)

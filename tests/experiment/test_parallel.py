import os
from functools import partial

import pytest
import torch

from modelgif.experiment.parallel import for_each, workers_on


def note(folder, item):
    if item < 0:
        raise ValueError(f"no {item}")
    (folder / str(item)).write_text(f"{os.getpid()} {torch.get_num_threads()}")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_has_its_turn_on_one_thread(tmp_path, workers):
    before = torch.get_num_threads()
    for_each(partial(note, tmp_path), range(4), title="t", unit="item", workers=workers)
    found = {int(file.name): file.read_text().split() for file in tmp_path.iterdir()}
    assert sorted(found) == [0, 1, 2, 3]
    assert {threads for _, threads in found.values()} == {"1"}
    in_this_process = {int(process) == os.getpid() for process, _ in found.values()}
    assert in_this_process == {workers == 1}
    assert torch.get_num_threads() == before


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_failures_are_told_once_the_others_are_done(tmp_path, workers):
    with pytest.raises(ExceptionGroup, match="train: 2 of 4 failed") as caught:
        items = [-1, 1, -2, 2]
        for_each(partial(note, tmp_path), items, title="train", unit="item", workers=workers)
    assert sorted(str(error) for error in caught.value.exceptions) == ["no -1", "no -2"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1", "2"]


def test_nothing_to_do_is_done(tmp_path):
    for_each(partial(note, tmp_path), [], title="t", unit="item")
    assert not list(tmp_path.iterdir())


def test_only_the_cpu_is_shared_by_processes():
    assert workers_on(torch.device("cpu")) is None
    assert workers_on(torch.device("cuda")) == 1

import threading

import pytest
import torch

from modelgif.zoo.background_writer import Background


def test_calls_are_made_at_once_on_the_cpu():
    seen = []
    with Background("cpu") as background:
        background.call(lambda t: seen.append((t, threading.current_thread())), torch.ones(2))
        assert seen[0][1] is threading.main_thread()


def test_calls_are_made_in_order_while_the_caller_goes_on():
    seen, go_on = [], threading.Event()

    def write(tensor):
        assert go_on.wait(30)
        seen.append(int(tensor))

    with Background("cpu", threaded=True) as background:
        background.call(write, torch.tensor(0))
        # Here already, although the call has not begun to write.
        assert seen == []
        go_on.set()
        for i in range(1, 5):
            background.call(write, torch.tensor(i))
    assert seen == [0, 1, 2, 3, 4]


def test_an_error_of_a_call_is_raised_by_the_next_or_at_the_end():
    def fail(_tensor):
        raise ValueError("disk full")

    seen = []
    with pytest.raises(ValueError, match="disk full"), Background("cpu", threaded=True) as one:
        one.call(fail, torch.ones(1))
        one.call(seen.append, torch.ones(1))
    with pytest.raises(ValueError, match="disk full"), Background("cpu", threaded=True) as one:
        one.call(fail, torch.ones(1))
    assert seen == []


def test_the_caller_s_own_error_is_the_one_to_tell():
    def fail(_tensor):
        raise ValueError("disk full")

    with pytest.raises(KeyError, match="mine"), Background("cpu", threaded=True) as background:
        background.call(fail, torch.ones(1))
        raise KeyError("mine")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tensors_arrive_as_they_were():
    seen = []
    with Background("cuda") as background:
        for i in range(4):
            tensor = torch.full((1000, 1000), float(i), device="cuda")
            background.call(seen.append, tensor @ tensor)
    assert [t.device.type for t in seen] == ["cpu"] * 4
    assert [t[0, 0].item() for t in seen] == [0.0, 1000.0, 4000.0, 9000.0]

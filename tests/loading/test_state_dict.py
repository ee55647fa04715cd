import pickle
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.torch_version import TorchVersion

from modelgif.loading.errors import CheckpointError
from modelgif.loading.state_dict import in_order, load_strictly, read_state_dict


@pytest.fixture
def state():
    return {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1.0, 2.0])}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_pickled_state_dicts_are_read(tmp_path, state, suffix, key):
    path = tmp_path / f"x{suffix}"
    torch.save(state if key is None else {key: state, "epoch": 3, "optimizer": {"state": {}}}, path)
    assert same(read_state_dict(path), state)


def test_safetensors_are_read(tmp_path, state):
    save_file(state, tmp_path / "x.safetensors")
    assert same(read_state_dict(str(tmp_path / "x.safetensors")), state)


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(value)])
def test_a_hostile_pickle_is_refused_and_does_not_run(tmp_path, save):
    touched, path = tmp_path / "touched", tmp_path / "x.pt"
    bomb = Hostile(touched)
    save(bomb if save is torch.save else pickle.dumps(bomb, protocol=2), path)
    with pytest.raises(CheckpointError, match=r"x\.pt is not a plain state dict \(.*open") as info:
        read_state_dict(path)
    assert "weights_only" not in str(info.value)
    assert not touched.exists()
    # The bomb is live: an ordinary unpickler sets it off.
    bomb.__reduce__()[0](*bomb.__reduce__()[1]).close()
    assert touched.exists()


def test_a_pickled_module_is_refused_with_the_way_out(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "x.pt")
    message = (
        r"asks for torch\.nn\.modules\.linear\.Linear.*any code.*safetensors\.torch\.save_file"
    )
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(tmp_path / "x.pt")


def test_an_old_torch_reads_no_pickles(tmp_path, state, monkeypatch):
    torch.save(state, tmp_path / "x.pt")
    save_file(state, tmp_path / "x.safetensors")
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.9.1"))
    with pytest.raises(CheckpointError, match=r"torch 2\.9\.1.*install torch 2\.10.*safetensors"):
        read_state_dict(tmp_path / "x.pt")
    assert same(read_state_dict(tmp_path / "x.safetensors"), state)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "it holds a list"),
        ({}, "it holds a dict, of which 0"),
        ({"epoch": 3}, "a dict with 'epoch', of which 0"),
        ({"a": "state", "b": "state"}, "'a', 'b', of which 2"),
        ({"state_dict": "state", "model": "state"}, "of which 2 are state dicts"),
        ({"model": "state", "model_ema": "state"}, "Save the one you mean"),
        ({"network": "state"}, "itself or under state_dict or model"),
    ],
)
def test_an_ambiguous_pickle_is_refused(tmp_path, state, content, message):
    if isinstance(content, dict):
        content = {k: state if v == "state" else v for k, v in content.items()}
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(tmp_path / "x.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"hello"])
def test_damaged_files_are_refused(tmp_path, state, suffix, damage):
    path = tmp_path / f"x{suffix}"
    (torch.save if suffix == ".pt" else save_file)(state, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=rf"x{suffix} is no.*ma[dk]e.* again"):
        read_state_dict(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"x\.onnx must end in \.safetensors, \.pt"):
        read_state_dict(tmp_path / "x.onnx")
    with pytest.raises(CheckpointError, match=r"there is no file .*x\.pt"):
        read_state_dict(tmp_path / "x.pt")


def test_other_names_are_listed_with_near_misses(state):
    renamed = {f"module.{name}": value for name, value in state.items()} | {"extra": torch.ones(1)}
    with pytest.raises(CheckpointError) as info:
        load_strictly(nn.Linear(3, 2), renamed, "x.pt")
    message = str(info.value)
    assert "x.pt holds the weights of another architecture" in message
    assert "2 names are missing (weight Did you mean module.weight?" in message
    assert "3 are unexpected (module.weight, module.bias, extra)" in message


def test_of_many_names_a_few_are_shown():
    network = nn.Sequential(*[nn.Linear(1, 1) for _ in range(4)])
    with pytest.raises(
        CheckpointError, match=r"8 names are missing \(0.weight, 0.bias, 1.weight …"
    ):
        load_strictly(network, {}, "x.pt")


def test_other_shapes_are_named(state):
    message = (
        r"x.pt holds 2 weights of another shape: weight is \[2, 3\] in the file and \[5, 3\] in"
    )
    with pytest.raises(CheckpointError, match=message):
        load_strictly(nn.Linear(3, 5), state, "x.pt")


def test_precision_is_the_files_and_ties_stay(state):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(3, 2)
            self.second = nn.Linear(3, 2)
            self.second.weight = self.first.weight

    doubled = {name: value.double() + 1e-12 for name, value in state.items()}
    network = Tied()
    load_strictly(
        network, {f"{a}.{k}": v for a in ("first", "second") for k, v in doubled.items()}, ""
    )
    assert torch.equal(network.second.weight, doubled["weight"])
    assert network.second.weight is network.first.weight
    assert network.first.weight.requires_grad


def test_whole_numbers_are_not_taken_for_weights(state):
    rounded = state | {"weight": state["weight"].to(torch.int8)}
    with pytest.raises(
        CheckpointError, match=r"holds weight as torch\.int8, where .*float32: turn"
    ):
        load_strictly(nn.Linear(3, 2), rounded, "x.pt")


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_quantised_weights_are_named(tmp_path, kind, nested):
    network = nn.Sequential(nn.Linear(3, 2)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "dynamic":
            quantised = torch.ao.quantization.quantize_dynamic(network).state_dict()
        else:
            weight = torch.quantize_per_tensor(network[0].weight.detach(), 0.1, 0, torch.qint8)
            quantised = {"0.weight": weight, "0.bias": network[0].bias.detach()}
        torch.save({"model": quantised} if nested else quantised, tmp_path / "x.pt")
        with pytest.raises(
            CheckpointError, match=r"x.pt holds quantised weights \(0\.\w+.*dequant"
        ):
            read_state_dict(tmp_path / "x.pt")


def layers():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3))


def test_another_librarys_names_are_matched_by_order():
    network, original = layers(), layers()
    renamed = {
        f"stage.{name.replace('.', '_unit.')}": v for name, v in original.state_dict().items()
    }
    matched = in_order(network, renamed, Path("x.pth"))
    assert same(matched, original.state_dict())
    load_strictly(network, matched, "x.pth")
    assert same(network.state_dict(), original.state_dict())


@pytest.mark.parametrize(
    ("path", "change", "message"),
    [
        ("x.safetensors", lambda s: s, r"cannot be matched by order: safetensors keep names only"),
        ("x.pt", lambda s: dict(list(s.items())[:-1]), "holds 8 weights and the network 9"),
        (
            "x.pt",
            lambda s: dict(reversed(s.items())),
            r"2.bias \[2\] stands where 0.weight \[2, 1, 3, 3\] should",
        ),
        # One shape for all of them, so that the names alone can tell.
        (
            "x.pt",
            lambda s: {
                {"1.weight": "1.bias", "1.bias": "1.weight"}.get(k, k): v for k, v in s.items()
            },
            r"1.bias \[2\] stands where 1.weight \[2\] should",
        ),
    ],
)
def test_weights_in_another_order_are_refused(path, change, message):
    with pytest.raises(CheckpointError, match=message):
        in_order(layers(), change(layers().state_dict()), Path(path))

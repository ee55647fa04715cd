import pytest
import torch
from torch import Tensor, nn

from modelgif.distances.distance import distance
from modelgif.experiment.cifar_resnet import resnet8
from modelgif.fields.acceleration import Acceleration, accelerate, autocast_distance
from modelgif.fields.field_settings import FieldSettings
from modelgif.fields.gradient_field import gradient_field
from modelgif.storage.field_store import FieldStore
from modelgif.zoo.extract import extract


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return resnet8(width=4)


@pytest.fixture
def x() -> Tensor:
    return torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_nothing_is_done_unless_asked_for(model: nn.Module, x: Tensor) -> None:
    same, notes = accelerate(model, x, Acceleration())
    assert notes == []
    assert torch.equal(gradient_field(same, x, n_steps=3), gradient_field(model, x, n_steps=3))


def test_the_field_is_the_same_to_rounding(model: nn.Module, x: Tensor) -> None:
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    options = Acceleration(fold_batchnorm=True, channels_last=True)
    fast, notes = accelerate(model, x, options)
    assert notes == ["7 BatchNorm folded into convolutions", "channels_last"]
    field = gradient_field(fast, x, n_steps=6)
    expected = gradient_field(model, x, n_steps=6)
    torch.testing.assert_close(field, expected, rtol=1e-3, atol=1e-6)
    assert float(distance(field, expected)) < 1e-5
    # The model is as it was.
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert model.conv1.weight.is_contiguous()


@pytest.mark.parametrize("autocast", ["bfloat16", "float16"])
def test_autocast_states_the_error_that_it_makes(autocast, model: nn.Module, x: Tensor) -> None:
    fast, notes = accelerate(model, x, Acceleration(autocast=autocast))
    assert notes == [f"{autocast} autocast"]
    field = gradient_field(fast, x, n_steps=6)
    assert field.dtype == torch.float32
    error = float(distance(field, gradient_field(model, x, n_steps=6)))
    stated = autocast_distance(model, x, autocast, FieldSettings(n_steps=6))
    assert stated == pytest.approx(error, rel=1e-6)
    assert 1e-7 < stated < 0.1
    if autocast == "float16":
        # Three more bits.
        assert stated < autocast_distance(model, x, "bfloat16", FieldSettings(n_steps=6))


def test_what_a_device_lacks_is_left_out_and_told(model: nn.Module, x: Tensor) -> None:
    same, (note,) = accelerate(model, x, Acceleration(cuda_graphs=True))
    assert note == "no CUDA graphs: ValueError: they need a CUDA device, this is cpu"
    assert torch.equal(gradient_field(same, x, n_steps=3), gradient_field(model, x, n_steps=3))


def test_a_compiler_that_fails_is_left_out_and_told(monkeypatch, model: nn.Module, x) -> None:
    def broken(model):
        raise RuntimeError("no C++ compiler\nwas found")

    monkeypatch.setattr("torch.compile", broken)
    same, notes = accelerate(model, x, Acceleration(compile=True, channels_last=True))
    assert notes == ["channels_last", "no torch.compile: RuntimeError: no C++ compiler"]
    torch.testing.assert_close(
        gradient_field(same, x, n_steps=3), gradient_field(model, x, n_steps=3)
    )


@pytest.mark.slow
def test_a_compiled_model_has_the_same_field(monkeypatch, x: Tensor) -> None:
    compiler = torch.compile
    # Without generated C++, which takes half a minute.
    monkeypatch.setattr("torch.compile", lambda model: compiler(model, backend="aot_eager"))
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(784, 2))
    fast, notes = accelerate(model, x, Acceleration(compile=True))
    assert notes == ["torch.compile"]
    torch.testing.assert_close(
        gradient_field(fast, x, n_steps=3), gradient_field(model, x, n_steps=3)
    )


def test_an_extraction_tells_what_it_tried(model: nn.Module, x: Tensor, tmp_path) -> None:
    options = Acceleration(fold_batchnorm=True, autocast="bfloat16", cuda_graphs=True)
    plain = extract({"m": model}, x, tmp_path / "plain", n_steps=4, progress=False)
    fast = extract(
        {"m": model}, x, tmp_path / "fast", n_steps=4, acceleration=options, progress=False
    )
    fast.raise_for_failures()
    assert plain.notes == {}
    folded, cast, graphs, moved = fast.notes["m"]
    assert folded == "7 BatchNorm folded into convolutions"
    assert cast == "bfloat16 autocast"
    assert graphs.startswith("no CUDA graphs")
    assert moved.startswith("bfloat16 autocast moves the field by a distance of ")
    with FieldStore(tmp_path / "plain" / "m.h5") as a, FieldStore(tmp_path / "fast" / "m.h5") as b:
        assert (a.header.dtype, b.header.dtype) == ("float32", "float32 under bfloat16 autocast")
        assert a.header.weights_sha256 == b.header.weights_sha256
        assert 0 < float(distance(a[:], b[:])) < 0.1
    # A store made under autocast is not taken for one made without.
    again = extract({"m": model}, x, tmp_path / "fast", n_steps=4, progress=False)
    assert again.skipped == []


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_graphs_and_layout_on_a_device(model: nn.Module, x: Tensor) -> None:
    options = Acceleration(fold_batchnorm=True, channels_last=True, cuda_graphs=True)
    fast, notes = accelerate(model.cuda(), x.cuda(), options)
    assert notes[1:] == ["channels_last", "CUDA graphs"]
    field = gradient_field(fast, x.cuda(), n_steps=4, chunk_size=5)
    expected = gradient_field(model, x.cuda(), n_steps=4, chunk_size=5)
    torch.testing.assert_close(field, expected, rtol=1e-2, atol=1e-4)

import copy
import warnings

import pytest
import torch
from torch import nn

import modelgif as gif
from modelgif.fields.number_format import compute_dtype, refuse_quantised
from modelgif.loading.load import load_model


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()


@pytest.fixture
def images():
    return torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def dynamic(network):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(network, {nn.Linear}, dtype=torch.qint8)


def static(network):
    stubs = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()
    wrapped = nn.Sequential(stubs[0], network[0], network[2], network[3], stubs[1]).eval()
    wrapped.qconfig = torch.ao.quantization.get_default_qconfig()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = torch.ao.quantization.prepare(wrapped)
        prepared(torch.rand(4, 3, 8, 8))
        return torch.ao.quantization.convert(prepared)


@pytest.mark.parametrize(
    ("quantise", "layer"),
    [(dynamic, r"3 is a torch\.ao\.\S+dynamic\S+\.Linear"), (static, r"\.Quantize")],
)
def test_a_quantised_model_is_refused_by_name(network, images, quantise, layer):
    quantised = quantise(network)
    message = rf"Sequential is quantised \(.*{layer}.*passes no gradient.*weights rounded"
    with pytest.raises(TypeError, match=message):
        gif.gradient_field(quantised, images, n_steps=2)
    refuse_quantised(network, "the original")


def test_a_quantised_model_of_a_function_is_refused_by_address(tmp_path, monkeypatch):
    (tmp_path / "my_quantised.py").write_text(
        "import warnings\n"
        "import torch\n"
        "from torch import nn\n"
        "def model():\n"
        "    warnings.simplefilter('ignore')\n"
        "    return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(12, 3)))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    message = r"^python:my_quantised:model is quantised \(0 is a torch"
    with warnings.catch_warnings(), pytest.raises(TypeError, match=message):
        load_model("python:my_quantised:model")


def test_an_operator_without_a_gradient_is_an_error_not_a_zero(network, images):
    quantised = dynamic(network)

    def function(x):
        return quantised(x)

    message = r"^function passes no gradient through the operator quantized::linear_dynamic\."
    with pytest.raises(TypeError, match=message):
        gif.gradient_field(function, images, n_steps=2)


def test_other_warnings_stay_warnings(network, images):
    def function(x):
        warnings.warn("mind the gap", UserWarning, stacklevel=1)
        return network(x)

    with pytest.warns(UserWarning, match="mind the gap"):
        gif.gradient_field(function, images, n_steps=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="mind the gap"):
            gif.gradient_field(function, images, n_steps=1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("part", [slice(None), slice(3, None)])
def test_coarse_weights_are_computed_in_float32(network, images, dtype, part):
    coarse = copy.deepcopy(network)
    coarse[part].to(dtype)
    widened = copy.deepcopy(coarse).float()
    field = gif.gradient_field(coarse, images, n_steps=4)
    assert field.dtype == torch.float32
    assert torch.equal(field, gif.gradient_field(widened, images, n_steps=4))
    assert next(coarse[3].parameters()).dtype == dtype
    if part == slice(None):
        asked = gif.gradient_field(coarse, images, n_steps=4, dtype=dtype)
        assert asked.dtype == dtype


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        ((torch.float32,), None),
        ((torch.float64,), None),
        ((torch.float32, torch.float64), None),
        ((torch.float16,), torch.float32),
        ((torch.float32, torch.bfloat16), torch.float32),
        ((torch.float64, torch.bfloat16), torch.float64),
        ((torch.int8,), None),
        ((), None),
    ],
)
def test_the_compute_dtype(formats, expected):
    model = nn.Module()
    for i, dtype in enumerate(formats):
        model.register_buffer(f"b{i}", torch.zeros(2, dtype=dtype))
    assert compute_dtype(model) == expected

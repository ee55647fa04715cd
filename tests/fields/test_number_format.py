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


class EightBits(torch.Tensor):
    """As torchao's dynamic int8 weight: it hides in nn.Linear, and drops the input's gradient."""

    @staticmethod
    def __new__(cls, weight):
        like = {"dtype": weight.dtype, "device": weight.device, "requires_grad": False}
        return torch.Tensor._make_wrapper_subclass(cls, weight.shape, **like)

    def __init__(self, weight):
        self.scale = weight.detach().abs().max() / 127
        self.rounded = (weight.detach() / self.scale).round().to(torch.int8)

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function is nn.functional.linear:
            x, weight, bias = args
            return nn.functional.linear(x.detach(), weight.rounded.float() * weight.scale, bias)
        return super().__torch_function__(function, types, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.detach.default:
            return args[0]
        raise NotImplementedError(str(function))


class Plain(torch.Tensor):
    pass


class Named(nn.Parameter):
    pass


@pytest.mark.parametrize("place", ["parameter", "buffer", "attribute"])
def test_a_weight_whose_class_does_the_arithmetic_is_refused_before_any_pass(
    network, images, place
):
    class Linear(nn.Linear):
        def forward(self, input):
            raise AssertionError("no pass")

    weight = EightBits(torch.rand(5, 4 * 36))
    network[3] = Linear(4 * 36, 5)
    del network[3].weight
    if place == "parameter":
        # As nn.Parameter keeps the class of such a weight.
        network[3]._parameters["weight"] = weight
    elif place == "buffer":
        network[3].register_buffer("weight", weight)
    else:
        network[3].weight = weight
    message = (
        rf"^Sequential has a weight .*\(3\.weight is a {__name__}\.EightBits\).*floating point"
    )
    with pytest.raises(TypeError, match=message):
        gif.gradient_field(network, images, n_steps=2)


def test_the_weight_of_the_test_does_drop_gradients(images):
    layer = nn.Linear(3, 2)
    layer._parameters["weight"] = EightBits(torch.rand(2, 3))
    x = torch.rand(4, 3, requires_grad=True)
    assert type(layer) is nn.Linear
    (gradient,) = torch.autograd.grad((layer(x) + x[:, :2]).sum(), x)
    assert torch.equal(gradient, torch.tensor([[1.0, 1.0, 0.0]]).expand(4, 3))


@pytest.mark.parametrize(
    "weight",
    [
        nn.Parameter(torch.zeros(2)),
        nn.Buffer(torch.zeros(2)),
        Named(torch.zeros(2)),
        nn.Parameter(torch.zeros(2).as_subclass(Plain)),
        nn.parameter.UninitializedParameter(),
    ],
)
def test_weights_of_other_names_alone_are_described(weight):
    model = nn.Module()
    model.weight = weight
    refuse_quantised(model, "it")


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

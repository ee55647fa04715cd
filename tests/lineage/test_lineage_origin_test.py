import copy
import math

import numpy as np
import pytest
import torch
from lineage_networks import ARCHITECTURES, train, trained, tuned
from matplotlib.figure import Figure
from torch import nn
from torch.nn.utils import prune

from modelgif.lineage import origin_test, permuted_units
from modelgif.loading.preprocessing import Preprocessed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def victims():
    return {name: trained(name, init=1, seed=1) for name in ARCHITECTURES}


def folded(network):
    """The vgg with its norms folded into the convolutions, and other names."""
    layers = []
    for unit in network.features:
        if isinstance(unit, nn.Sequential):
            layers += [nn.utils.fuse_conv_bn_eval(unit[0], unit[1]), nn.ReLU()]
        else:
            layers.append(unit)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.head)


def fewer_channels(network, kept=(20, 40, 36)):
    """The convnet without its channels of smallest weights; the others keep their order."""
    state, rest = network.state_dict(), None
    for index, n in zip((0, 2, 4), kept, strict=True):
        weight, bias = state[f"features.{index}.weight"], state[f"features.{index}.bias"]
        weight = weight if rest is None else weight[:, rest]
        rest = weight.flatten(1).norm(dim=1).argsort(descending=True)[:n].sort().values
        state[f"features.{index}.weight"], state[f"features.{index}.bias"] = (
            weight[rest],
            bias[rest],
        )
    state["head.weight"] = state["head.weight"][:, rest]
    small = ARCHITECTURES["convnet"](1, 10)
    small.features[0] = nn.Conv2d(1, kept[0], 3, padding=1)
    small.features[2] = nn.Conv2d(kept[0], kept[1], 3, stride=2, padding=1)
    small.features[4] = nn.Conv2d(kept[1], kept[2], 3, stride=2, padding=1)
    small.head = nn.Linear(kept[2], 10)
    small.load_state_dict(state)
    return small.eval()


def renamed(network):
    return {
        f"backbone.layer{i}.{k.rpartition('.')[2]}": v
        for i, (k, v) in enumerate(network.state_dict().items())
    }


def pruned(network, amount=0.6):
    copied = copy.deepcopy(network)
    for module in copied.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            prune.l1_unstructured(module, "weight", amount)
    return copied


def eight_bits(network):
    state = {}
    for name, value in network.state_dict().items():
        if value.ndim > 1:
            scale = float(value.abs().max()) / 127
            value = torch.quantize_per_tensor(value, scale, 0, torch.qint8)
        state[name] = value
    return state


def rehead(network):
    copied = copy.deepcopy(network)
    copied.head = nn.Linear(copied.head.in_features, 3)
    return tuned_head(copied)


def tuned_head(network):
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * parameter.std() * torch.randn_like(parameter)
    return network


COPIES = {
    "fine-tuned": lambda n: tuned(n, seed=5),
    "pruned": pruned,
    "bfloat16": lambda n: copy.deepcopy(n).bfloat16(),
    "float16": lambda n: copy.deepcopy(n).half(),
    "int8": eight_bits,
    "renamed": renamed,
    "other head": rehead,
    "state dict": lambda n: n.state_dict(),
    "wrapped": lambda n: Preprocessed(n, mean=0.5, std=0.5),
}


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("name", ["convnet", "mobilenet", "resnet"])
def test_copies_have_a_common_origin(victims, name, kind):
    torch.manual_seed(0)
    found = origin_test(victims[name], COPIES[kind](victims[name]))
    assert found.log10_p < -20
    assert all(layer.share > 0.6 for layer in found.layers)


@pytest.mark.parametrize("name", ["vgg"])
def test_folded_norms_and_other_names(victims, name):
    copied = folded(copy.deepcopy(victims[name]))
    for a, b in ((victims[name], copied), (copied, victims[name])):
        found = origin_test(a, b)
        assert found.log10_p < -20
        assert "by order and shapes" in found.notes[1]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("as_state", [False, True])
def test_fewer_units_keep_their_order(victims, turned, as_state):
    small = fewer_channels(tuned(victims["convnet"], seed=3))
    pair = [victims["convnet"], small.state_dict() if as_state else small]
    found = origin_test(*(pair[::-1] if turned else pair))
    assert found.log10_p < -15
    assert {layer.statistic for layer in found.layers} == {"longest_increasing"}
    assert len(found.layers) == 3


def test_fewer_units_of_an_independent_network_show_nothing(victims):
    for init in (7, 8):
        small = fewer_channels(trained("convnet", init=init, seed=1))
        assert origin_test(victims["convnet"], small).log10_p > -3


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_independent_networks_show_nothing(victims, name):
    # The same data in the same order: only the start differs.
    other = trained(name, init=2, seed=1)
    found = origin_test(victims[name], other)
    assert found.layers
    assert found.log10_p > -3
    assert origin_test(victims[name].state_dict(), other.state_dict()).log10_p > -3


def test_a_common_seed_looks_like_theft(victims):
    """The trap: other data, other order, other labels; only manual_seed is the same."""
    assert origin_test(victims["convnet"], trained("convnet", init=1, seed=99)).log10_p < -20


def test_an_extracted_network_has_an_origin_of_its_own(victims):
    thief = trained("convnet", init=50, seed=1)
    images = torch.rand(256, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        answers = victims["convnet"](images).softmax(1)
    optimiser = torch.optim.Adam(thief.parameters(), lr=1e-3)
    for _ in range(20):
        optimiser.zero_grad()
        nn.functional.cross_entropy(thief(images), answers).backward()
        optimiser.step()
    assert origin_test(victims["convnet"], thief).log10_p > -3


def test_permuted_units_evade(victims):
    moved = permuted_units(victims["resnet"])
    x = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(moved(x), victims["resnet"](x), atol=1e-4, rtol=1e-4)
    assert origin_test(victims["resnet"], moved).log10_p > -3


def test_the_victims_own_start_is_its_origin(victims):
    torch.manual_seed(1)
    assert origin_test(ARCHITECTURES["vgg"](1, 10), victims["vgg"]).log10_p < -20


def test_a_shared_trunk_is_found(victims):
    class Longer(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = copy.deepcopy(victims["convnet"].features)
            self.features.append(nn.Conv2d(48, 30, 3, padding=1))
            self.features.append(nn.ReLU())
            self.last = nn.Linear(30, 4)

        def forward(self, x):
            return self.last(self.features(x).mean((2, 3)))

    found = origin_test(victims["convnet"], Longer())
    assert found.log10_p < -20
    assert [layer.name for layer in found.layers][:2] == ["features.0.weight", "features.2.weight"]


class _Units(nn.Module):
    def __init__(self, n=32):
        super().__init__()
        self.first, self.last = nn.Linear(20, n), nn.Linear(n, 3)

    def forward(self, x):
        return self.last(self.first(x).relu())


def test_units_that_are_all_alike_are_not_matched_to_themselves():
    a, b = _Units(), _Units()
    for network in (a, b):
        for parameter in network.parameters():
            nn.init.ones_(parameter)
    logs = [origin_test(a, b, seed=seed).log10_p for seed in range(50)]
    assert np.mean([p <= math.log10(0.05) for p in logs]) <= 0.15
    assert min(logs) > -3


def test_dead_units_are_not_matched_to_themselves():
    logs = []
    for seed in range(30):
        torch.manual_seed(seed)
        a, b = _Units(), _Units()
        for network in (a, b):
            dead = torch.randperm(32)[:24]
            with torch.no_grad():
                network.first.weight[dead] = 0
                network.first.bias[dead] = 0
                network.last.weight[:, dead] = 0
        logs.append(origin_test(a, b).log10_p)
    assert np.mean([p <= math.log10(0.05) for p in logs]) <= 0.2
    assert min(logs) > -4


class _Dirac(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 24, 3, padding=1)
        self.second = nn.Conv2d(24, 24, 3, padding=1)
        self.third = nn.Conv2d(24, 24, 3, padding=1)
        self.head = nn.Linear(24, 10)
        nn.init.dirac_(self.third.weight)

    def forward(self, x):
        x = self.second(self.stem(x).relu()).relu()
        return self.head(self.third(x).relu().mean((2, 3)))


def test_identity_like_starts_are_left_out():
    networks = []
    for init in (1, 2):
        torch.manual_seed(init)
        networks.append(train(_Dirac(), seed=init))
    found = origin_test(*networks)
    assert found.log10_p > -3
    reasons = {left.name: left.reason for left in found.left_out}
    # Both sets that the diagonal ties to each other.
    assert "diagonal" in reasons["third.weight"]
    assert "diagonal" in reasons["second.weight"]
    assert [layer.name for layer in found.layers] == ["stem.weight"]
    # What is left out for its values still counts as tested.
    assert found.n_sets == 3
    assert origin_test(networks[0], tuned(networks[0], seed=3)).log10_p < -15


def test_values_in_the_order_of_units_are_left_out():
    networks = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        network = _Units()
        with torch.no_grad():
            network.first.bias.copy_(torch.linspace(-1, 1, 32) + 0.001 * torch.randn(32))
        networks.append(network)
    found = origin_test(*networks)
    assert found.log10_p == 0
    assert "order of the units" in found.left_out[0].reason


def test_filters_that_change_little_from_unit_to_unit_are_left_out():
    angles = torch.linspace(0, 3, 40)[:, None]
    bank = torch.sin(angles + torch.linspace(0, 9, 20) * (1 + angles))
    networks = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        network = _Units(40)
        with torch.no_grad():
            network.first.weight.copy_(bank + 0.01 * torch.randn(40, 20))
        networks.append(network)
    found = origin_test(*networks)
    assert found.log10_p > -3
    assert found.left_out


def test_positions_in_sines_tell_the_stream_apart():
    """As in masked autoencoders: the same fixed embedding of positions in every network."""
    frequencies = 1 / 10_000 ** (torch.arange(16) / 16)
    angles = torch.arange(32.0)[:, None] * frequencies

    class Embedded(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(20, 32), nn.Linear(32, 3)
            self.position = nn.Parameter(torch.cat([angles.sin(), angles.cos()], 1)[None])

        def forward(self, x):
            return self.last((self.first(x) + self.position).relu().mean(1))

    networks = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        networks.append(Embedded())
    found = origin_test(*networks, example=torch.randn(2, 32, 20))
    assert found.log10_p > -3
    assert [left.name for left in found.left_out] == ["first.weight"]


def test_p_values_of_random_units_have_their_level():
    """By hand, without training: b's units are exchangeable by construction."""
    logs = []
    for seed in range(120):
        torch.manual_seed(seed)
        logs.append(origin_test(_Units(12).state_dict(), _Units(12).state_dict()).log10_p)
    assert np.mean([p <= math.log10(0.1) for p in logs]) <= 0.16


def test_bonferroni(victims):
    found = origin_test(victims["convnet"], tuned(victims["convnet"], seed=8))
    smallest = min(layer.log10_p for layer in found.layers)
    assert found.log10_p == pytest.approx(smallest + math.log10(len(found.layers)))


def test_the_result_reads_well(victims):
    found = origin_test(victims["convnet"], victims["convnet"])
    assert str(found).startswith("120 of 120 units in 3 layers matched to themselves, log10 p = -6")
    table = found.table()
    assert [row["share"] for row in table] == [1, 1, 1]
    assert table[0]["layer"] == "features.0.weight"
    figure = found.plot()
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 3
    with pytest.raises(AttributeError):
        found.log10_p = 0


def test_errors_say_what_to_do(victims):
    with pytest.raises(TypeError, match="must be a torch.nn.Module or its state dict, got str"):
        origin_test("victim.pt", victims["vgg"])
    with pytest.raises(ValueError, match="must have tensors"):
        origin_test({}, victims["vgg"])
    broken = copy.deepcopy(victims["vgg"])
    broken.head.weight.data[0, 0] = math.nan
    with pytest.raises(ValueError, match=r"head\.weight holds NaN"):
        origin_test(victims["vgg"], broken)
    with pytest.raises(ValueError, match="must share an architecture"):
        origin_test(nn.Linear(5, 4), nn.Conv2d(3, 7, 3))


def test_inputs_stay_as_they_are(victims):
    a, b = (copy.deepcopy(victims["mobilenet"]).train() for _ in range(2))
    before = copy.deepcopy(a.state_dict())
    state = torch.random.get_rng_state()
    first, second = origin_test(a, b), origin_test(a, b)
    assert first.log10_p == second.log10_p
    assert a.training
    assert torch.equal(state, torch.random.get_rng_state())
    for name, value in a.state_dict().items():
        assert torch.equal(value, before[name])

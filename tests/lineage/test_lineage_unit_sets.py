import copy

import numpy as np
import pytest
import timm
import torch
import torchvision
from lineage_networks import ARCHITECTURES
from torch import nn
from torch.nn import functional as F

from modelgif.lineage import permuted_units, unit_sets
from modelgif.lineage._unit_sets import TracingError, unit_sets_by_order
from modelgif.lineage.axes import Atom, Join, Product, atoms, cut, positions, reordered, same, split


def sizes(network, **given):
    return [s.size for s in unit_sets(network, **given).sets]


def test_an_mlp_has_its_hidden_layers():
    network = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 9), nn.Tanh(), nn.Linear(9, 4))
    found = unit_sets(network)
    assert [s.places for s in found.sets] == [
        (("0.weight", 0), ("0.bias", 0), ("2.weight", 1)),
        (("2.weight", 0), ("2.bias", 0), ("4.weight", 1)),
    ]
    assert found.left_out == ()
    assert found.note.endswith("each checked numerically")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("convnet", [24, 48, 48]),
        ("vgg", [16, 16, 32, 32]),
        ("resnet", [16, 16, 32, 32]),
        # Depthwise layers share the units of the layer before.
        ("mobilenet", [24, 48, 48]),
    ],
)
def test_small_networks(name, expected):
    assert sizes(ARCHITECTURES[name](1, 10)) == expected


def test_residual_sums_make_one_set():
    found = unit_sets(ARCHITECTURES["resnet"](1, 10))
    stem = next(s for s in found.sets if s.name == "features.0.0.weight")
    assert ("features.1.second.0.weight", 0) in stem.places
    assert ("features.1.first.0.weight", 1) in stem.places
    assert ("features.2.shortcut.weight", 1) in stem.places


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "n_sets"),
    [
        (lambda: torchvision.models.resnet18(), 12),
        (lambda: torchvision.models.mobilenet_v3_small(), 27),
        (lambda: torchvision.models.efficientnet_b0(), 40),
        (lambda: torchvision.models.squeezenet1_1(), 25),
        (lambda: timm.create_model("densenet121", num_classes=3), 120),
    ],
    ids=["resnet18", "mobilenet_v3", "efficientnet", "squeezenet", "densenet"],
)
def test_known_networks_have_all_their_sets(make, n_sets):
    torch.manual_seed(0)
    found = unit_sets(make())
    assert len(found.sets) == n_sets
    assert found.left_out == ()


def test_a_transformer_has_hidden_units_whole_heads_and_the_stream():
    torch.manual_seed(0)
    network = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, depth=2, embed_dim=40, num_heads=5, num_classes=7
    )
    found = unit_sets(network)
    by_name: dict[str, list[int]] = {}
    for units in found.sets:
        by_name.setdefault(units.name, []).append(units.size)
    assert 40 in [s.size for s in found.sets]
    assert by_name["blocks.0.mlp.fc1.weight"] == [160]
    # Five heads, and eight dimensions that all heads, queries, keys and values share.
    assert sorted(by_name["blocks.0.attn.qkv.weight"]) == [5, 8]


def test_attention_of_torch_itself():
    layer = nn.TransformerEncoderLayer(16, 4, 24, batch_first=True)
    network = nn.Sequential(nn.Linear(10, 16), layer, nn.Linear(16, 3))
    found = unit_sets(network, example=torch.randn(2, 5, 10))
    assert sorted(s.size for s in found.sets) == [4, 4, 16, 24]
    assert found.left_out == ()


def test_a_grouped_convolution_keeps_groups_together():
    network = nn.Sequential(
        nn.Conv2d(3, 24, 3),
        nn.ReLU(),
        nn.Conv2d(24, 24, 3, groups=4),
        nn.ReLU(),
        nn.Conv2d(24, 2, 1),
    )
    # Four groups, and six channels within: those of input and output are sets of their own.
    assert sorted(sizes(network)) == [4, 6, 6]


def test_shuffled_channels_keep_what_the_shuffle_leaves_alike():
    found = unit_sets(torchvision.models.shufflenet_v2_x0_5())
    assert found.left_out
    assert any("only 3 units" in left.reason for left in found.left_out)
    assert all(s.size >= 4 for s in found.sets)


class _Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 12, 3, stride=2), nn.Linear(12 * 3 * 3, 4)

    def forward(self, x):
        return self.head(torch.flatten(F.relu(self.conv(x)), 1))


def test_flattened_channels_are_blocks():
    network = _Flat()
    (units,) = unit_sets(network, example=torch.randn(2, 1, 8, 8)).sets
    assert units.places == (("conv.weight", 0), ("conv.bias", 0), ("head.weight", 1))
    moved = permuted_units(network, example=torch.randn(2, 1, 8, 8))
    x = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(network(x), moved(x))
    assert not torch.equal(network.conv.weight, moved.conv.weight)


class _Odd(nn.Module):
    """Its middle units are used by their numbers."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.first, self.last = kind, nn.Linear(6, 12), nn.Linear(12, 3)

    def forward(self, x):
        x = F.relu(self.first(x))
        if self.kind == "cumsum":
            x = x.cumsum(1)
        elif self.kind == "weighted":
            x = x * torch.arange(12.0)
        elif self.kind == "sorted by a constant":
            x = torch.gather(x, 1, torch.arange(12).flip(0).expand_as(x))
        return self.last(x)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("cumsum", "the operation cumsum has no rule"),
        ("weighted", "the operation arange has no rule"),
        ("sorted by a constant", "no rule"),
    ],
)
def test_units_that_are_used_by_their_numbers_are_left_out(kind, reason):
    found = unit_sets(_Odd(kind))
    assert found.sets == ()
    assert any(reason in left.reason for left in found.left_out)


def test_a_false_set_is_caught_by_numbers(monkeypatch):
    """Even if a rule were wrong: cumulative sums taken for something that treats units alike."""
    from modelgif.lineage import tracing

    monkeypatch.setitem(tracing._RULES, "cumsum", lambda call: [call.axes(0)])
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6), _Odd("cumsum"))
    found = unit_sets(network)
    assert [s.name for s in found.sets] == ["0.weight", "2.weight"]
    assert [(left.name, left.reason[:34]) for left in found.left_out] == [
        ("3.first.weight", "permuting it changes the network's")
    ]


def test_zero_branches_are_checked_as_well(monkeypatch):
    from modelgif.lineage import tracing

    monkeypatch.setitem(tracing._RULES, "cumsum", lambda call: [call.axes(0)])
    network = _Odd("cumsum")
    nn.init.zeros_(network.last.weight)
    assert unit_sets(network).sets == ()


class _Scaled(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.first, self.last = nn.Linear(6, 12), nn.Linear(12, 3)
        self.register_buffer("scale", scale)

    def forward(self, x):
        return self.last(F.relu(self.first(x)) * self.scale)


def test_a_fixed_buffer_that_differs_between_units_tells_them_apart():
    found = unit_sets(_Scaled(torch.linspace(1, 2, 12)))
    assert found.sets == ()
    assert found.left_out[0].reason == "the fixed tensor scale tells its units apart"
    assert sizes(_Scaled(torch.full((12,), 2.0))) == [12]


def test_the_network_stays_as_it_is():
    network = ARCHITECTURES["vgg"](1, 10).train()
    network.features[0][1].eval()
    before = copy.deepcopy(network.state_dict())
    modes = [m.training for m in network.modules()]
    state = torch.random.get_rng_state()
    unit_sets(network)
    assert modes == [m.training for m in network.modules()]
    assert torch.equal(state, torch.random.get_rng_state())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_half_precision_is_traced():
    assert sizes(ARCHITECTURES["convnet"](1, 10).bfloat16()) == [24, 48, 48]


def test_a_network_that_runs_on_nothing_says_so():
    with pytest.raises(TracingError, match="give `example`"):
        unit_sets(nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(), nn.Linear(17, 2)))


def test_by_order_only_what_is_sure():
    found = unit_sets_by_order(torchvision.models.resnet18().state_dict())
    assert {s.name for s in found.sets} >= {"conv1.weight", "layer4.0.conv1.weight"}
    assert not any(s.name.endswith("conv2.weight") for s in found.sets)
    reasons = {left.name: left.reason for left in found.left_out}
    assert "square" in reasons["layer1.0.conv1.weight"]
    assert "outputs" in reasons["fc.weight"]
    assert "not checked numerically" in found.note


def test_by_order_leaves_queries_keys_and_values_out():
    network = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1)
    found = unit_sets_by_order(network.state_dict())
    assert "blocks.0.attn.qkv.weight" in [left.name for left in found.left_out]
    assert "blocks.0.mlp.fc1.weight" in [s.name for s in found.sets]


def test_by_order_leaves_grouped_weights_out():
    network = nn.Sequential(
        nn.Conv2d(3, 24, 3), nn.Conv2d(24, 32, 3, groups=4), nn.Conv2d(32, 8, 1), nn.Conv2d(8, 2, 1)
    )
    found = unit_sets_by_order(network.state_dict())
    assert [s.name for s in found.sets] == ["2.weight"]


def test_axes_in_blocks():
    channels, where = Atom(3), Atom(4, "in space")
    axis = Product([channels, where])
    assert positions(axis, channels).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    moved = reordered(axis, {channels: np.array([2, 0, 1])})
    assert moved.tolist() == [8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7]


def test_axes_that_are_joined_and_cut():
    a, b = Atom(2), Atom(3)
    axis = Join([a, b])
    assert reordered(axis, {b: np.array([2, 1, 0])}).tolist() == [0, 1, 4, 3, 2]
    left, right = cut(axis, 3)
    assert (left.size, right.size) == (3, 2)
    # The second atom is in two parts now.
    assert [atom.size for atom in atoms(axis)] == [2, 1, 2]


def test_axes_made_one():
    a, parts = Atom(6), Join([Atom(2), Atom(4)])
    same(a, parts)
    assert [atom.size for atom in atoms(a)] == [2, 4]
    left, right = Product([Atom(2), Atom(6)]), Product([Atom(4), Atom(3)])
    same(left, right)
    assert [atom.size for atom in atoms(left)] == [2, 2, 3]
    assert list(atoms(left)) == list(atoms(right))


def test_axes_without_a_common_layout_are_pinned():
    left, right = Product([Atom(2), Atom(3)]), Product([Atom(3), Atom(2)])
    same(left, right)
    assert all(atom.pinned for atom in [*atoms(left), *atoms(right)])
    axis = Product([Atom(4), Atom(3)])
    assert [part.size for part in split([axis], [6, 2])] == [6, 2]
    assert not any(atom.pinned for atom in atoms(Atom(6)))
    assert all(atom.pinned for atom in atoms(split([Atom(9)], [2, 5])[0]))

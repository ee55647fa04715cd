import hashlib
import json
import struct

import pytest
import torch
from torch import nn

from modelgif.loading import checkpoint
from modelgif.loading.checkpoint import (
    is_complete,
    read_card,
    read_checkpoint,
    weights_sha256,
    write_checkpoint,
)
from modelgif.loading.errors import CheckpointError
from modelgif.loading.preprocessing import Preprocessed

CARD = {"architecture": "python:package.nets:small?width=4", "recipe": "scratch", "accuracy": 0.5}


@pytest.fixture
def network():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "zoo" / "victim.safetensors"


def test_the_hash_is_the_one_described():
    state = {"b": torch.tensor(3), "a": torch.tensor([[1.5, -2.0]])}
    expected = hashlib.sha256(
        b'["a", "torch.float32", [1, 2]]'
        + struct.pack("<ff", 1.5, -2.0)
        + b'["b", "torch.int64", []]'
        + struct.pack("<q", 3)
    )
    assert weights_sha256(state) == expected.hexdigest()
    assert weights_sha256(dict(reversed(state.items()))) == expected.hexdigest()


def test_the_hash_sees_content_only(network):
    own = weights_sha256(network)
    assert weights_sha256(network.state_dict()) == own
    assert weights_sha256(Preprocessed(network, mean=0.5, std=0.5)) == own
    assert weights_sha256(network.to(memory_format=torch.channels_last)) == own
    with torch.no_grad():
        network[0].bias[0] += 1
    assert weights_sha256(network) != own


@pytest.mark.parametrize(
    "other",
    [
        {"b": torch.zeros(2, 3)},
        {"a": torch.zeros(3, 2)},
        {"a": torch.zeros(2, 3, dtype=torch.int32)},
        {"a": torch.zeros(2, 3), "b": torch.zeros(0)},
    ],
)
def test_the_hash_tells_names_shapes_and_dtypes_apart(other):
    assert weights_sha256(other) != weights_sha256({"a": torch.zeros(2, 3)})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.bool, torch.complex64, torch.float64])
def test_every_dtype_survives(path, dtype):
    state = {"x": torch.tensor([0, 1, 1]).to(dtype), "scalar": torch.tensor(1).to(dtype)}
    write_checkpoint(path, state, CARD)
    found, _ = read_checkpoint(path)
    assert all(torch.equal(found[k], v) and found[k].dtype == dtype for k, v in state.items())


def test_a_round_trip_keeps_weights_and_card(network, path):
    write_checkpoint(path, network, CARD | {"weights_sha256": "stale"})
    state, card = read_checkpoint(path)
    own = network.state_dict()
    assert state.keys() == own.keys()
    assert all(torch.equal(state[name], own[name]) for name in own)
    digest = weights_sha256(network)
    assert card == CARD | {"schema_version": 1, "weights_sha256": digest}
    assert read_card(str(path)) == card
    assert is_complete(path)


def test_the_same_content_gives_the_same_bytes(network, path):
    def written(model, card):
        write_checkpoint(path, model, card)
        return path.read_bytes(), path.with_suffix(".json").read_bytes()

    shuffled = dict(reversed(network.state_dict().items()))
    assert written(network, CARD) == written(shuffled, dict(reversed(CARD.items())))


def test_preprocessing_goes_to_the_card(network, path):
    model = Preprocessed(network, mean=0.5, std=0.25, size=4)
    write_checkpoint(path, model, CARD)
    state, card = read_checkpoint(path)
    assert card["preprocessing"] == {"mean": [0.5], "std": [0.25], "size": [4, 4]}
    assert state.keys() == network.state_dict().keys()
    write_checkpoint(path, model, CARD | {"preprocessing": {"mean": 0.5, "std": 0.25, "size": 4}})
    with pytest.raises(ValueError, match=r"preprocessing \{\} is not the model's .*model\.network"):
        write_checkpoint(path, model, CARD | {"preprocessing": {}})


def test_shared_and_strided_tensors_are_written_whole(path):
    base = torch.arange(12.0).reshape(3, 4)
    state = {"tied": base, "again": base, "transposed": base.T, "part": base[1:, ::2]}
    write_checkpoint(path, state, CARD)
    found, _ = read_checkpoint(path)
    assert all(torch.equal(found[name], value) for name, value in state.items())


class WithExtra(nn.Linear):
    def get_extra_state(self):
        return {"calls": 3}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (WithExtra(1, 1), "'_extra_state' is a dict: keep anything else in the card"),
        ({"x": torch.eye(2).to_sparse()}, "'x' is a Tensor .torch.sparse_coo"),
    ],
)
def test_what_is_not_a_dense_tensor_is_refused(path, model, message):
    with pytest.raises(TypeError, match=message):
        write_checkpoint(path, model, CARD)
    assert not path.exists()


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({}, "architecture must be an address such as .*got None"),
        ({"architecture": "file:/etc/secret.pt"}, "must begin with python:, timm: or torchvision:"),
        ({"architecture": "torchvision:resnet18?weights=DEFAULT"}, "leave out weights="),
        (CARD | {"preprocessing": {"mean": 1}}, "given together"),
        (CARD | {"accuracy": float("nan")}, "plain finite JSON"),
        (CARD | {"accuracy": torch.ones(1)}, "plain finite JSON"),
    ],
)
def test_a_card_that_would_not_be_read_is_not_written(network, path, card, message):
    with pytest.raises(ValueError, match=message):
        write_checkpoint(path, network, card)
    assert not path.exists()


def test_weights_go_to_safetensors(network, tmp_path):
    with pytest.raises(ValueError, match=r"\.safetensors file, got .*x\.pt"):
        write_checkpoint(tmp_path / "x.pt", network, CARD)


@pytest.mark.parametrize("before", [False, True])
def test_a_writer_killed_between_weights_and_card_leaves_nothing_complete(
    network, path, monkeypatch, before
):
    if before:
        write_checkpoint(path, nn.Linear(2, 2), CARD)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(path, network, CARD)
    assert path.exists()
    assert not is_complete(path)
    monkeypatch.undo()
    write_checkpoint(path, network, CARD)
    assert is_complete(path)


def test_one_flipped_bit_is_found(network, path):
    write_checkpoint(path, network, CARD)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    message = r"victim\.safetensors are not those of its card.*make it and victim\.json again"
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)
    assert not is_complete(path)


def test_missing_and_cut_files_are_refused(network, path):
    with pytest.raises(CheckpointError, match=r"no card .*victim\.json.*\?architecture="):
        read_checkpoint(path)
    write_checkpoint(path, network, CARD)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"victim\.safetensors is not a complete safetensors"):
        read_checkpoint(path)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"there is no file .*victim\.safetensors"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: "[]", "must be a JSON object, got a list"),
        (lambda text: text[:20], "make the checkpoint again: .*line"),
        (lambda _: "[" * 100_000, "maximum recursion"),
        (
            lambda text: text.replace('"schema_version": 1', '"schema_version": 2'),
            "version 1, got 2",
        ),
        (lambda text: text.replace("weights_sha256", "sha"), "64 hexadecimal digits, got None"),
        (lambda text: text.replace("python:", "file:"), "must begin with python:"),
        (lambda text: text.replace("{", '{"preprocessing": [],', 1), "must map mean, std and size"),
    ],
)
def test_a_damaged_card_is_refused(network, path, change, message):
    write_checkpoint(path, network, CARD)
    card = path.with_suffix(".json")
    card.write_text(change(card.read_text()))
    with pytest.raises(CheckpointError, match=rf"victim\.json is not a valid card.*{message}"):
        read_card(path)
    assert not is_complete(path)


def test_a_card_in_another_encoding_is_refused(network, path):
    write_checkpoint(path, network, CARD)
    path.with_suffix(".json").write_bytes(json.dumps(CARD | {"data": "é"}).encode("utf-16"))
    with pytest.raises(CheckpointError, match="not a valid card"):
        read_card(path)

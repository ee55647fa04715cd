"""Addresses of torch.hub, on repositories that the tests write into a hub folder of their own."""

import pytest
import torch
from torch import nn

from modelgif.loading.checkpoint import weights_sha256, write_checkpoint
from modelgif.loading.errors import CheckpointError, UntrustedError
from modelgif.loading.load import load_model
from modelgif.loading.trust import TRUSTED

HUBCONF = """
import torch
from torch import nn
from pathlib import Path
Path({marker!r}).touch()
def tiny(classes=3, pretrained=False):
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, classes))
    if pretrained:
        network.load_state_dict(torch.hub.load_state_dict_from_url("https://example.org/tiny.pt"))
    return network
def number():
    return 3
"""
TINY = "hub:me/nets:tiny"
TRUST = ("hub:me/nets",)


@pytest.fixture(autouse=True)
def marker(tmp_path, monkeypatch):
    """Touched as soon as the repository's code runs."""

    def refuse(*_, **__):
        raise AssertionError("a test must not ask the network")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    write_repository(tmp_path, "main")
    return tmp_path / "touched"


def write_repository(home, ref):
    folder = home / "hub" / f"me_nets_{ref}"
    folder.mkdir(parents=True)
    (folder / "hubconf.py").write_text(HUBCONF.format(marker=str(home / "touched")))
    return folder


@pytest.mark.parametrize("trust", [TRUSTED, (), ("me/nets",), ("hub:me",), ("hub:me/nets:v2",)])
def test_untrusted_code_does_not_run(marker, trust):
    message = r"hub:me/nets:tiny is refused: torch\.hub runs .*own Python code.*'hub:me/nets'"
    with pytest.raises(UntrustedError, match=message):
        load_model(TINY, trust=trust)
    with pytest.raises(UntrustedError):
        load_model(TINY, trust=trust, download=True)
    assert not marker.exists()


def test_a_trusted_repository_is_run_from_the_hub_folder(marker, caplog):
    state = torch.random.get_rng_state()
    model = load_model(f"{TINY}?classes=5&mean=0.5&std=0.5&seed=3", trust=TRUST)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert marker.exists()
    assert model(torch.rand(2, 3, 2, 2)).shape == (2, 5)
    assert model.preprocessing == {"mean": [0.5], "std": [0.5]}
    again = load_model(f"{TINY}?classes=5&seed=3", trust=TRUST)
    assert weights_sha256(again) == weights_sha256(model)
    assert weights_sha256(load_model(f"{TINY}?classes=5", trust=TRUST)) != weights_sha256(model)
    assert not caplog.text


def test_a_ref_is_a_folder_of_its_own(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"me/nets at v2/x is not in .*hub.*download=True"):
        load_model("hub:me/nets:v2/x:tiny", trust=TRUST)
    write_repository(tmp_path, "v2_x")
    for trust in (TRUST, ("hub:me/nets:v2/x",)):
        assert isinstance(load_model("hub:me/nets:v2/x:tiny", trust=trust).network, nn.Sequential)
    write_repository(tmp_path, "master")
    with pytest.raises(ValueError, match="as main and as master: say which"):
        load_model(TINY, trust=TRUST)


def test_weights_are_taken_from_the_cache_or_not_at_all(tmp_path):
    fetch = torch.hub.download_url_to_file
    with pytest.raises(FileNotFoundError, match=r"https://example.org/tiny.pt, .*download=True"):
        load_model(f"{TINY}?pretrained=true", trust=TRUST)
    assert torch.hub.download_url_to_file is fetch
    with pytest.raises(ValueError, match="a test must not ask the network"):
        load_model(f"{TINY}?pretrained=true", trust=TRUST, download=True)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    torch.save(network.state_dict(), tmp_path / "hub" / "checkpoints" / "tiny.pt")
    found = load_model(f"{TINY}?pretrained=true", trust=TRUST)
    assert weights_sha256(found) == weights_sha256(network)


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("hub:me/nets", ValueError, "expected hub:owner/repository:entry"),
        ("hub:../nets/x:tiny", ValueError, "expected hub:owner/repository:entry"),
        ("hub:me/other:tiny", FileNotFoundError, "me/other is not in"),
        ("hub:me/nets:large", ValueError, "cannot be built: RuntimeError: Cannot find callable"),
        ("hub:me/nets:tiny?width=3", ValueError, "unexpected keyword argument 'width'"),
        ("hub:me/nets:tiny?force_reload=true", ValueError, "must not say force_reload"),
        ("hub:me/nets:number", TypeError, r"must return a torch\.nn\.Module, got int"),
    ],
)
def test_addresses_that_make_no_sense_are_refused(address, error, message):
    with pytest.raises(error, match=message):
        load_model(address, trust=("hub:me/nets", "hub:me/other"))


@pytest.mark.parametrize("architecture", [TINY, "export:model.pt2", "hf:me/mine"])
def test_no_card_names_a_repository_or_an_archive(tmp_path, marker, architecture):
    path = tmp_path / "victim.safetensors"
    write_checkpoint(path, nn.Linear(2, 2), {"architecture": "python:a:b"})
    card = path.with_suffix(".json")
    card.write_text(card.read_text().replace("python:a:b", architecture))
    with pytest.raises(CheckpointError, match="must begin with python:, timm: or torchvision:"):
        load_model(f"file:{path}", trust=(*TRUST, "export:model.pt2"))
    assert not marker.exists()

import json
from pathlib import Path
from urllib.parse import quote

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from modelgif.experiment.networks import network_address
from modelgif.loading.checkpoint import weights_sha256, write_checkpoint
from modelgif.loading.errors import CheckpointError
from modelgif.loading.load import load_model
from modelgif.loading.preprocessing import Preprocessed

CONVNET = network_address("convnet", 1, 3) + "&width=4"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "victim.safetensors"


@pytest.fixture
def factory(tmp_path, monkeypatch):
    """A module outside the package; returns its name."""
    (tmp_path / "my_networks.py").write_text(
        "from torch import nn\n"
        "from modelgif.loading.preprocessing import Preprocessed\n"
        "def linear(n, bias=True): return nn.Linear(n, n, bias=bias)\n"
        "def prepared(): return Preprocessed(nn.Linear(2, 2), size=8)\n"
        "def number(): return 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "my_networks"


@pytest.mark.parametrize(
    "architecture",
    ["torchvision:mobilenet_v3_small?num_classes=10", "timm:resnet10t?num_classes=10", CONVNET],
)
def test_a_checkpoint_gives_the_model_back(path, architecture, caplog):
    model = load_model(f"{architecture}&mean=0.5&std=0.25&seed=5")
    write_checkpoint(path, model, {"architecture": architecture})
    caplog.clear()
    state = torch.random.get_rng_state()
    found = load_model(f"file:{path}")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not caplog.text
    assert weights_sha256(found) == weights_sha256(model)
    images = torch.rand(2, 1 if architecture == CONVNET else 3, 32, 32)
    assert torch.equal(found(images), model(images))
    assert isinstance(found, Preprocessed)
    assert not any(module.training for module in found.modules())
    assert found.address == f"file:{path}"
    assert found.preprocessing == {"mean": [0.5], "std": [0.25]}


def test_paths_start_here_or_at_home(path, monkeypatch):
    write_checkpoint(path, load_model(CONVNET), {"architecture": CONVNET})
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("HOME", str(path.parent))
    found = {weights_sha256(load_model(f"file:{p}victim.safetensors")) for p in ("", "~/")}
    assert len(found) == 1


def test_the_query_takes_the_place_of_the_cards_preprocessing(path):
    card = {"architecture": CONVNET, "preprocessing": {"mean": 0.5, "std": 0.5, "size": 8}}
    write_checkpoint(path, load_model(CONVNET).network, card)
    assert load_model(f"file:{path}?size=16,12").preprocessing == {
        "mean": [0.5],
        "std": [0.5],
        "size": [16, 12],
    }


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_without_a_card_need_their_architecture(path, suffix):
    model, path = load_model(CONVNET), path.with_suffix(suffix)
    (torch.save if suffix == ".pt" else save_file)(model.network.state_dict(), path)
    with pytest.raises(CheckpointError, match=r"no card .*\?architecture="):
        load_model(f"file:{path}")
    address = f"file:{path}?architecture={quote(CONVNET, safe='')}&mean=0.5&std=2"
    found = load_model(address)
    assert weights_sha256(found) == weights_sha256(model)
    assert found.preprocessing == {"mean": [0.5], "std": [2.0]}
    path.with_suffix(".json").write_text("{}")
    with pytest.raises(
        ValueError, match=r"victim\.json already says what .* leave out architecture="
    ):
        load_model(address)


def test_another_librarys_names_are_matched_by_order_when_asked(path):
    model, path = load_model(CONVNET), path.with_suffix(".pth")
    torch.save({f"module.{k}": v for k, v in model.network.state_dict().items()}, path)
    address = f"file:{path}?architecture={quote(CONVNET, safe='')}"
    with pytest.raises(CheckpointError, match=r"another architecture.*see match=order"):
        load_model(address)
    assert weights_sha256(load_model(f"{address}&match=order")) == weights_sha256(model)
    for wrong in (f"{address}&match=shape", f"file:{path}?match=order"):
        with pytest.raises(ValueError, match="match must be name or order, and order goes with"):
            load_model(wrong)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_coarse_weights_are_widened_unless_asked_for(path, dtype):
    network = load_model(CONVNET).network.to(dtype)
    write_checkpoint(path, network, {"architecture": CONVNET})
    model = load_model(f"file:{path}")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert weights_sha256(model.network.to(dtype)) == weights_sha256(network)
    assert next(load_model(f"file:{path}", dtype=dtype).parameters()).dtype == dtype


def test_a_card_vouches_for_a_pickle_too(path):
    model = load_model(CONVNET)
    write_checkpoint(path, model, {"architecture": CONVNET})
    torch.save({"state_dict": model.network.state_dict()}, path.with_suffix(".pt"))
    assert weights_sha256(load_model(f"file:{path.with_suffix('.pt')}")) == weights_sha256(model)
    torch.save(load_model(f"{CONVNET}&seed=9").network.state_dict(), path.with_suffix(".pt"))
    with pytest.raises(CheckpointError, match=r"victim\.pt are not those of its card"):
        load_model(f"file:{path.with_suffix('.pt')}")


def test_weights_of_another_architecture_are_refused(path):
    write_checkpoint(path, load_model(CONVNET), {"architecture": f"{CONVNET}0"})
    message = r"victim\.safetensors \(python:.*width=40\) holds 7 weights of another shape"
    with pytest.raises(CheckpointError, match=message):
        load_model(f"file:{path}")
    write_checkpoint(path, nn.Linear(2, 2), {"architecture": CONVNET})
    with pytest.raises(CheckpointError, match="another architecture: 8 names are missing"):
        load_model(f"file:{path}")


def test_device_and_precision_are_arguments(path):
    model = load_model(f"{CONVNET}&mean=0.1&std=0.3", dtype=torch.float64)
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    # Not rounded to float32 on the way.
    assert model.mean is not None
    assert model.mean.item() == 0.1
    write_checkpoint(path, model, {"architecture": CONVNET})
    assert next(load_model(f"file:{path}").parameters()).dtype == torch.float64
    single = load_model(f"file:{path}", dtype=torch.float32, device=torch.device("cpu"))
    assert single(torch.rand(1, 1, 8, 8)).dtype == torch.float32


def test_a_function_typed_here_is_called(factory):
    model = load_model(f"python:{factory}:linear?n=3&bias=false")
    assert isinstance(model.network, nn.Linear)
    assert model.network.bias is None
    assert torch.equal(model(torch.ones(1, 3)), model.network(torch.ones(1, 3)))
    seeded = load_model(f"python:{factory}:linear?n=3&bias=false&seed=1")
    assert weights_sha256(seeded) != weights_sha256(model)
    prepared = load_model(f"python:{factory}:prepared")
    assert isinstance(prepared.network, nn.Linear)
    assert prepared.preprocessing == {"size": [8, 8]}


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("python:my_networks", ValueError, "expected python:package.module:function"),
        ("python:../my:f", ValueError, "expected python:package.module:function"),
        ("python:my_networks:liner?n=1", ValueError, "no function 'liner'. Did you mean linear?"),
        ("python:no_such_module:f", ImportError, "No module named 'no_such_module'.*PYTHONPATH"),
        ("python:my_networks:number", TypeError, r"must return a torch\.nn\.Module, got int"),
        ("python:my_networks:linear?m=1", TypeError, "unexpected keyword argument 'm'"),
        ("file:x.pt?architecure=timm:x", ValueError, "got 'architecure'.*mean architecture?"),
        ("file:x.pt?architecture=file:y.pt", ValueError, "must begin with python:"),
        ("file:none.safetensors", CheckpointError, "no card none.json"),
        ("files:x.pt", ValueError, "unknown scheme 'files'.*Did you mean file?"),
    ],
)
def test_addresses_that_make_no_sense_are_refused(factory, address, error, message):
    with pytest.raises(error, match=message):
        load_model(address)


def test_a_card_runs_trusted_modules_only(factory, path):
    card = {"architecture": f"python:{factory}:linear?n=2"}
    write_checkpoint(path, nn.Linear(2, 2), card)
    message = rf"asks to run {factory}:linear.*only.*trust=\('{factory}',\)"
    with pytest.raises(CheckpointError, match=message):
        load_model(f"file:{path}")
    assert isinstance(load_model(f"file:{path}", trust=(factory,)).network, nn.Linear)


@pytest.mark.parametrize(
    ("target", "trust", "message"),
    [
        ("os:mkdir", (), "no package only"),
        ("modelgif.storage.atomic:write_text", None, "cards may run functions of .* only"),
        ("modelgif.loading.load:load_model", None, "cards may run functions of .* only"),
        ("modelgif.experiment.networks_evil:f", None, "cards may run functions of .* only"),
        ("modelgif.experiment.networks:_unit", None, "not a public function"),
        # Trusted, but made elsewhere: imported names are no way around.
        ("my_networks:Preprocessed", ("my_networks",), "it is from modelgif.loading.preprocessing"),
    ],
)
def test_a_hostile_card_runs_nothing(factory, path, tmp_path, target, trust, message):
    touched = tmp_path / "touched"
    card = {"architecture": f"python:{target}?path={quote(str(touched), safe='')}&text=x"}
    write_checkpoint(path, nn.Linear(2, 2), card)
    with pytest.raises(CheckpointError, match=message):
        load_model(f"file:{path}", **({} if trust is None else {"trust": trust}))
    assert not touched.exists()


def test_a_card_names_no_other_file(path):
    write_checkpoint(path, nn.Linear(2, 2), {"architecture": CONVNET})
    card = path.with_suffix(".json")
    content = json.loads(card.read_text())
    card.write_text(json.dumps(content | {"architecture": "file:../other.safetensors"}))
    with pytest.raises(CheckpointError, match="must begin with python:, timm: or torchvision:"):
        load_model(f"file:{path}")


def test_a_path_is_an_address_of_a_file(path, monkeypatch):
    model = load_model(CONVNET)
    write_checkpoint(path, model, {"architecture": CONVNET})
    monkeypatch.chdir(path.parent)
    for name in (
        path,
        str(path),
        path.name,
        Path(path.name),
        Path("..", path.parent.name) / path.name,
    ):
        found = load_model(name)
        assert weights_sha256(found) == weights_sha256(model)
        assert found.address == f"file:{name}"
    assert load_model(f"{path.name}?size=16").preprocessing == {"size": [16, 16]}


def test_keywords_beside_an_architecture_are_its_arguments(path):
    architecture = "timm:resnet10t"
    model, path = load_model(architecture, num_classes=7, seed=3), path.with_suffix(".pt")
    torch.save(model.network.state_dict(), path)
    found = load_model(
        path, architecture=architecture, num_classes=7, mean=(0.5, 0.4, 0.3), std=[1, 1, 2]
    )
    assert weights_sha256(found) == weights_sha256(model)
    assert found.preprocessing == {"mean": [0.5, 0.4, 0.3], "std": [1.0, 1.0, 2.0]}
    inner = quote("timm:resnet10t?num_classes=7", safe=",:/")
    assert found.address == f"file:{path}?architecture={inner}&mean=0.5,0.4,0.3&std=1,1,2"
    # The address alone gives the model back.
    assert weights_sha256(load_model(found.address)) == weights_sha256(model)
    with pytest.raises(CheckpointError, match="weights of another shape"):
        load_model(path, architecture=architecture, num_classes=8)
    with pytest.raises(ValueError, match="num_classes is given twice"):
        load_model(path, architecture=f"{architecture}?num_classes=7", num_classes=7)
    with pytest.raises(ValueError, match="architecture is given twice"):
        load_model(f"{path}?architecture={inner}", architecture=architecture)


def test_matching_in_order_is_a_keyword_too(path):
    model, path = load_model(CONVNET), path.with_suffix(".pth")
    torch.save({f"module.{k}": v for k, v in model.network.state_dict().items()}, path)
    found = load_model(path, architecture=CONVNET, match="order")
    assert weights_sha256(found) == weights_sha256(model)


def test_keywords_without_an_architecture_are_the_addresss_own(factory, path):
    spelled = load_model(f"python:{factory}:linear?n=3&bias=false&seed=2")
    found = load_model(f"python:{factory}:linear", n=3, bias=False, seed=2)
    assert weights_sha256(found) == weights_sha256(spelled)
    write_checkpoint(path, load_model(CONVNET), {"architecture": CONVNET})
    assert load_model(path, mean=0.5, std=2).preprocessing == {"mean": [0.5], "std": [2.0]}
    with pytest.raises(ValueError, match="a file's address takes .*got 'num_clases'"):
        load_model(path, num_clases=3)
    with pytest.raises(ValueError, match=r"the architecture must begin with .*got 'file:"):
        load_model(path.with_suffix(".pt"), architecture="file:other.pt")


@pytest.mark.parametrize("name", ["none.safetensors", "zoo/none.pt", Path("none.pth")])
def test_a_path_that_does_not_exist_is_told_with_where_it_was_looked_for(
    tmp_path, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    message = (
        rf"there is no file {name}, and no card none\.json .*relative paths start in {tmp_path}"
    )
    with pytest.raises(CheckpointError, match=message):
        load_model(name)
    with pytest.raises(CheckpointError, match=message):
        load_model(name, architecture=CONVNET)
    with pytest.raises(
        CheckpointError, match=rf"there is no file {tmp_path}/none\.pt, .*: correct the path\."
    ):
        load_model(tmp_path / "none.pt")
    with pytest.raises(ValueError, match="bare path must end in the suffix of its file"):
        load_model("none")

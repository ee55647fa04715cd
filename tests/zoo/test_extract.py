import contextlib
import importlib
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from modelgif.fields.gradient_field import gradient_field
from modelgif.loading.checkpoint import weights_sha256
from modelgif.loading.load import load_model
from modelgif.references.references import References
from modelgif.storage.field_store import FieldStore
from modelgif.zoo.extract import Extraction, extract

# The package's function `extract` hides the module of that name from ordinary imports.
MODULE = importlib.import_module("modelgif.zoo.extract")

ZOO = """
import os, signal
import torch
from torch import nn

def network(width=5, variant=0):
    net = nn.Sequential(nn.Flatten(), nn.Linear(18, width), nn.Tanh(), nn.Linear(width, 3))
    generator = torch.Generator().manual_seed(variant)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return net

class Killer(nn.Module):
    \"\"\"Ends the process while the field of the third reference is computed.\"\"\"

    def __init__(self):
        super().__init__()
        self.network, self.calls = network(), 0

    def forward(self, x):
        self.calls += 1
        if self.calls == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.network(x)
"""
KILLED = """
import importlib, sys
import zoo_of_test
from modelgif.zoo.extract import extract
from modelgif.references.references import References

importlib.import_module("modelgif.zoo.extract")._BLOCK_NUMBERS = 1
import torch
images = torch.rand(6, 2, 3, 3, generator=torch.Generator().manual_seed(0))
extract(
    {"first": zoo_of_test.network(), "second": zoo_of_test.Killer},
    References(images, tuple(f"test/{i}" for i in range(6))),
    sys.argv[1], n_steps=4, progress=False,
)
"""


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., nn.Module]:
    """The zoo's function, which the address ``python:zoo_of_test:network`` names, too."""
    (tmp_path / "zoo_of_test.py").write_text(ZOO)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "zoo_of_test", raising=False)
    return importlib.import_module("zoo_of_test").network


@pytest.fixture
def references() -> References:
    images = torch.rand(6, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    return References(images, tuple(f"test/{i}" for i in range(6)))


def run(models, references, folder: Path, **options) -> Extraction:
    return extract(models, references, folder, **({"n_steps": 4, "progress": False} | options))


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def read(path: Path) -> Tensor:
    with FieldStore(path) as store:
        return store[:]


ADDRESS = "python:zoo_of_test:network?width=7&variant=2"


def test_modules_functions_and_addresses_become_stores(
    network, references: References, tmp_path: Path
) -> None:
    models = {
        "module": network(),
        "function": lambda: network(6, variant=1),
        "by.address-1": ADDRESS,
    }
    done = run(models, references, tmp_path / "fields", config_sha256="ab" * 32)
    assert (done.skipped, done.failed) == ([], {})
    assert done.stores == {name: tmp_path / "fields" / f"{name}.h5" for name in models}
    assert set(contents(tmp_path / "fields")) == {f"{name}.h5" for name in models}
    done.raise_for_failures()
    built = [network(), network(6, variant=1), network(7, variant=2)]
    names = ["module", "function", ADDRESS]
    for path, model, name in zip(done.stores.values(), built, names, strict=True):
        expected = gradient_field(model, references.images, n_steps=4)
        with FieldStore(path) as store:
            assert torch.equal(store[:], expected)
            assert store.reference_ids == list(references.ids)
            header = store.header
        assert (header.model, header.weights_sha256) == (name, weights_sha256(model))
        assert header.references_sha256 == references.sha256()
        assert (header.target, header.baseline) == ("predicted_class", "0.0")
        assert (header.rule, header.n_steps) == ("gausslegendre", 4)
        assert (header.cumulative, header.scale_by_path) == (True, True)
        assert (header.dtype, header.storage) == ("float32", "float32")
        assert header.config_sha256 == "ab" * 32
        assert torch.__version__.startswith(header.versions["torch"])
    assert read(done.stores["by.address-1"]).equal(
        gradient_field(load_model(ADDRESS), references.images, n_steps=4)
    )


def test_options_reach_the_field_and_the_header(network, references, tmp_path: Path) -> None:
    options = {
        "target": torch.tensor([0, 1, 2, 2, 1, 0]),
        "baseline": references.images.flip(0),
        "rule": "gaussradau",
        "cumulative": False,
        "scale_by_path": False,
        "chunk_size": 5,
    }
    done = run(
        {"m": network()},
        references,
        tmp_path / "f",
        dtype=torch.float64,
        storage="float64",
        **options,
    )
    expected = gradient_field(network().double(), references.images.double(), n_steps=4, **options)
    with FieldStore(done.stores["m"]) as store:
        torch.testing.assert_close(store[:], expected, rtol=1e-14, atol=1e-14)
        header = store.header
    assert header.target.startswith("labels:")
    assert header.baseline.startswith("sha256:")
    assert (header.rule, header.dtype, header.storage) == ("gaussradau", "float64", "float64")
    assert (header.cumulative, header.scale_by_path) == (False, False)


def test_references_without_names_are_named_by_position(network, references, tmp_path) -> None:
    done = run({"m": network()}, references.images, tmp_path / "f")
    with FieldStore(done.stores["m"]) as store:
        assert store.reference_ids == ["0", "1", "2", "3", "4", "5"]


# What is there already.


def test_sound_stores_are_skipped(network, references: References, tmp_path: Path) -> None:
    models = {"a": network(), "b": ADDRESS}
    first = run(models, references, tmp_path / "f")
    files = {path: (path.stat().st_ino, path.read_bytes()) for path in first.stores.values()}
    again = run(models | {"c": network(variant=3)}, references, tmp_path / "f")
    assert again.skipped == ["a", "b"]
    assert list(again.stores) == ["a", "b", "c"]
    assert {p: (p.stat().st_ino, p.read_bytes()) for p in first.stores.values()} == files


@pytest.mark.parametrize(
    "options",
    [
        {"n_steps": 5},
        {"target": "output_sum"},
        {"baseline": 0.5},
        {"baseline": torch.zeros(2, 3, 3)},
        {"rule": "riemann_left"},
        {"cumulative": False},
        {"scale_by_path": False},
        {"dtype": torch.float64},
        {"storage": "float16_scaled"},
        {"config_sha256": "cd" * 32},
    ],
    ids=lambda options: next(iter(options)),
)
def test_other_settings_are_extracted_again(options, network, references, tmp_path: Path) -> None:
    folder = tmp_path / "f"
    run({"m": network()}, references, folder)
    assert run({"m": network()}, references, folder, **options).skipped == []
    assert run({"m": network()}, references, folder, **options).skipped == ["m"]


def test_other_weights_references_and_damage_are_extracted_again(
    network, references: References, tmp_path: Path
) -> None:
    folder = tmp_path / "f"
    run({"m": network()}, references, folder)
    assert run({"m": network(variant=1)}, references, folder).skipped == []
    torch.testing.assert_close(
        read(folder / "m.h5"), gradient_field(network(variant=1), references.images, n_steps=4)
    )
    renamed = References(references.images, tuple("abcdef"))
    assert run({"m": network(variant=1)}, renamed, folder).skipped == []
    sound = (folder / "m.h5").read_bytes()
    (folder / "m.h5").write_bytes(sound[: len(sound) // 2])
    assert run({"m": network(variant=1)}, renamed, folder).skipped == []
    assert (folder / "m.h5").read_bytes() == sound


@pytest.mark.slow
def test_a_killed_extraction_goes_on_to_the_same_bytes(
    network, references: References, tmp_path: Path
) -> None:
    folder = tmp_path / "fields"
    result = subprocess.run([sys.executable, "-c", KILLED, str(folder)], cwd=tmp_path)
    assert result.returncode == -signal.SIGKILL
    whole, part = sorted(contents(folder))
    assert whole == "first.h5"
    assert re.fullmatch(r"second\.h5\..+\.part", part)
    models = {"first": network(), "second": network(variant=4)}
    done = run(models, references, folder)
    assert done.skipped == ["first"]
    run(models, references, tmp_path / "undisturbed")
    assert contents(folder) == contents(tmp_path / "undisturbed")


@pytest.mark.slow
@pytest.mark.parametrize("chunk_size", [None, 3])
@pytest.mark.parametrize("baseline", ["number", "input", "each"])
@pytest.mark.parametrize("target", ["predicted_class", torch.tensor([0, 1, 2, 2, 1, 0])])
def test_blocks_do_not_change_the_bytes(
    target,
    baseline: str,
    chunk_size: int | None,
    network,
    references: References,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = {"number": 0.2, "input": references.images[3], "each": references.images.flip(0)}
    options = {"target": target, "baseline": start[baseline], "dtype": torch.float64}
    run({"m": network()}, references, tmp_path / "whole", **options)
    # A reference has 4 · 18 numbers: blocks of one, and of four and then two.
    for numbers in (1, 4 * 72):
        monkeypatch.setattr(MODULE, "_BLOCK_NUMBERS", numbers)
        folder = tmp_path / str(numbers)
        run({"m": network()}, references, folder, chunk_size=chunk_size, **options)
        assert contents(folder) == contents(tmp_path / "whole")


# What fails, and what is left alone.


def test_failed_models_are_reported_and_the_others_stay(
    network, references: References, tmp_path: Path
) -> None:
    broken = network()
    broken[1].weight.data[0, 0] = float("nan")

    def unmade() -> nn.Module:
        raise RuntimeError("out of clay")

    models = {
        "broken": broken,
        "first": network(),
        "lost": "python:zoo_of_test:netwrk",
        "nowhere": "ftp:model",
        "unmade": unmade,
        "narrow": nn.Linear(2, 2),
        "last": network(variant=1),
    }
    done = run(models, references, tmp_path / "f")
    assert list(done.stores) == ["first", "last"]
    assert set(contents(tmp_path / "f")) == {"first.h5", "last.h5"}
    assert list(done.failed) == ["broken", "lost", "nowhere", "unmade", "narrow"]
    assert (
        "broken is not finite (NaN, infinity or beyond float32) at reference 0 (test/0)"
        in done.failed["broken"]
    )
    assert "Did you mean network?" in done.failed["lost"]
    assert "unknown scheme 'ftp'" in done.failed["nowhere"]
    assert done.failed["unmade"] == "RuntimeError: out of clay"
    with pytest.raises(RuntimeError, match=r"5 models have no field:\n  broken: StoreError: the"):
        done.raise_for_failures()
    mended = run(models | {"broken": network(variant=2)}, references, tmp_path / "f")
    assert (mended.skipped, list(mended.failed)) == (["first", "last"], list(done.failed)[1:])


def test_an_interrupt_stops_at_once(network, references: References, tmp_path: Path) -> None:
    def interrupted() -> nn.Module:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run({"a": network(), "b": interrupted, "c": network()}, references, tmp_path / "f")
    assert set(contents(tmp_path / "f")) == {"a.h5"}


def test_modules_and_references_stay_unmodified(network, references, tmp_path: Path) -> None:
    model = network().train()
    model[1].weight.requires_grad_(False)
    before = {name: (p, p.clone(), p.requires_grad) for name, p in model.named_parameters()}
    images = references.images.clone()
    run({"m": model}, references, tmp_path / "f", dtype=torch.float64)
    assert all(module.training for module in model.modules())
    for name, parameter in model.named_parameters():
        same, value, tracked = before[name]
        assert parameter is same
        assert torch.equal(parameter, value)
        assert parameter.dtype == torch.float32
        assert parameter.requires_grad == tracked
        assert parameter.grad is None
    assert torch.equal(references.images, images)


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".hidden", "a b", "ü", "a:b"])
def test_names_that_are_no_file_names_are_refused(name: str, network, references, tmp_path) -> None:
    with pytest.raises(ValueError, match=rf"letters, digits and '\._-', got {name!r}"):
        run({"good": network(), name: network()}, references, tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_an_unknown_target_is_refused_before_any_work(network, references, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Did you mean 'predicted_class'"):
        run({"m": network()}, references, tmp_path / "f", target="predicted_clas")
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"target": torch.zeros(5).long()},
        {"target": torch.zeros(7).long()},
        {"baseline": torch.zeros(5, 2, 3, 3)},
        {"baseline": torch.zeros(7, 2, 3, 3)},
        {"baseline": torch.zeros(3, 3, 3)},
    ],
    ids=lambda options: f"{next(iter(options))}-{len(next(iter(options.values())))}",
)
@pytest.mark.parametrize("numbers", [2**26, 1])
def test_labels_and_baselines_of_other_references_are_never_used(
    options: dict,
    numbers: int,
    network,
    references: References,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(MODULE, "_BLOCK_NUMBERS", numbers)
    with contextlib.suppress(ValueError):  # refused at once, or by every model
        assert run({"m": network()}, references, tmp_path / "f", **options).stores == {}
    assert not list(tmp_path.glob("f/*"))


def test_progress_is_shown_on_the_terminal_if_wanted(network, references, tmp_path, capsys) -> None:
    run({"a-model": network()}, references, tmp_path / "f", progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "a-model" in shown.err
    assert "6/6" in shown.err
    run({"a-model": network()}, references, tmp_path / "f")
    assert capsys.readouterr().err == ""

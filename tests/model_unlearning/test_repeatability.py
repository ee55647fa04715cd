"""The same command gives the same bytes: again, with more workers, and in any order of files."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from model_unlearning.config import UnlearningConfig
from model_unlearning.evaluate import evaluate
from model_unlearning.extract_fields import extract_fields
from model_unlearning.train import train
from modelgif.cli.references import find_references
from modelgif.data.image_folder import read_image_folder
from modelgif.experiment.config import load_config
from modelgif.experiment.run import Run, open_run
from modelgif.zoo.stream import stream_distances
from tests.support.kill_matrix import contents
from tests.support.kill_scenarios import SETTINGS, TRAINING, references, zoo

# The networks are too small to see some references.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:zero cells")]
CONFIG = Path(__file__).parents[2] / "model_unlearning" / "configs" / "smoke.yaml"
# How long the stages took, when and where.
OF_THE_OCCASION = {"run.json", "results.xlsx"}


class Shuffled:
    """What `os.scandir` gives, in another order."""

    def __init__(self, entries: Any, draw: random.Random) -> None:
        with entries:
            self._entries = list(entries)
        draw.shuffle(self._entries)

    def __enter__(self) -> "Shuffled":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> "Shuffled":
        return self

    def __next__(self) -> os.DirEntry:
        if not self._entries:
            raise StopIteration
        return self._entries.pop()

    def close(self) -> None:
        self._entries = []


@pytest.fixture
def shuffle(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Gives the entries of every folder in another order from then on."""
    listdir, scandir = os.listdir, os.scandir

    def use(seed: int) -> None:
        draw = random.Random(seed)
        monkeypatch.setattr(
            os, "listdir", lambda *where: draw.sample(names := listdir(*where), len(names))
        )
        monkeypatch.setattr(os, "scandir", lambda *where: Shuffled(scandir(*where), draw))

    return use


def all_stages(run: Run[UnlearningConfig]) -> dict[str, str]:
    """The digest of every file that the stages leave, by name."""
    for stage in (train, extract_fields, evaluate):
        with run.stage(stage.__name__):
            stage(run)
    return {
        name: found
        for name, found in contents(run.folder).items()
        if Path(name).name not in OF_THE_OCCASION
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder of a small run by one worker, and its files."""
    small = ["n_training_images=300", "n_references=4", "field.n_steps=3"]
    options = [*TRAINING, *small, "workers=null"]
    config = load_config(UnlearningConfig, CONFIG, options)
    root = tmp_path_factory.mktemp("once")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: 1)
        found = all_stages(opened(config, "model_unlearning", "smoke", root, patch))
    (folder,) = (root / "runs" / "model_unlearning").iterdir()
    return folder, found


def opened(
    config: UnlearningConfig, testbed: str, name: str, root: Path, patch: pytest.MonkeyPatch
) -> Run[UnlearningConfig]:
    """A run in the folder ``runs`` of `root`, as a command there would open it."""
    # Stores name their models as the command did, and records name the commit, which may change
    # while a test runs in a working tree.
    patch.chdir(root)
    patch.setenv("GIT_DIR", str(root / "nowhere"))
    return open_run(config, testbed=testbed, name=name)


def again(finished: Path, root: Path, patch: pytest.MonkeyPatch) -> Run[UnlearningConfig]:
    """The same run elsewhere, from nothing but what its folder says of it."""
    for name in ("config.yaml", "run.json"):
        shutil.copyfile(finished / name, root / name)
    said = json.loads((root / "run.json").read_text())
    config = load_config(UnlearningConfig, root / "config.yaml")
    name, _, _ = said["config"].rpartition("-")
    return opened(config, said["testbed"], name, root, patch)


def test_a_run_is_repeated_from_its_folder_by_more_workers(
    finished, shuffle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, files = finished
    assert {"records.csv", "zoo/roster.csv"} <= set(files)
    assert sum(name.endswith((".safetensors", ".h5")) for name in files) > 10
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    shuffle(2)
    run = again(folder, tmp_path, monkeypatch)
    assert run.folder.name == folder.name
    assert all_stages(run) == files


def test_run_json_says_what_the_bytes_depend_on(finished) -> None:
    folder, _ = finished
    said = json.loads((folder / "run.json").read_text())
    assert {"testbed", "config", "commit", "machine", "versions", "stages"} <= set(said)
    assert {"torch", "numpy", "h5py", "python", "modelgif"} <= set(said["versions"])
    assert set(said["stages"]) == {"train", "extract_fields", "evaluate"}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Images in folders of two classes, written in no order."""
    draw = random.Random(0)
    for name in draw.sample([f"{c}/{i}.png" for c in ("cat", "Dog") for i in range(8)], 16):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), tuple(draw.randbytes(3))).save(tmp_path / name)
    return tmp_path


def test_the_order_of_files_in_a_folder_does_not_matter(images: Path, shuffle) -> None:
    def read() -> list[object]:
        found = find_references(str(images), count=6, size=4, channels=None, seed=1)
        *splits, classes = read_image_folder(images, 4)
        return [found.sha256(), found.ids, [part.tolist() for part in splits], classes]

    before, order = read(), os.listdir(images / "cat")
    shuffle(1)
    assert os.listdir(images / "cat") != order
    assert read() == before


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_the_chunk_size_changes_distances_by_rounding_only(device: str) -> None:
    def distances(**options: Any) -> torch.Tensor:
        return stream_distances(
            zoo(), references(), progress=False, device=device, **SETTINGS, **options
        ).matrix

    usual = distances()
    assert torch.equal(distances(), usual)
    for chunk_size in (1, 2, 7, 100):
        found = distances(chunk_size=chunk_size)
        assert torch.equal(distances(chunk_size=chunk_size), found)
        torch.testing.assert_close(found, usual, rtol=0, atol=1e-6)

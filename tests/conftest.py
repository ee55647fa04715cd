import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from torch import Tensor

from modelgif.storage.field_store import FieldHeader, FieldStore
from tests.support.made_once import MadeOnce

# The same examples in every run, however slow the machine.
settings.register_profile(
    "modelgif", derandomize=True, deadline=None, database=None, max_examples=60
)
settings.load_profile("modelgif")


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if "made_once" in getattr(item, "fixturenames", ()):
            item.add_marker("stages")
        if "cuda" in item.keywords and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """As stages have, so that what a test computes beside them has their rounding on any machine.

    Networks have kinks, and sums in another order can end on the other side of one.
    """
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """Runs of stages that several tests read. Tests that need it are marked ``stages``."""
    base = tmp_path_factory.getbasetemp()
    # A worker of pytest-xdist has a folder of its own below that of the test run.
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return MadeOnce(shared / "made-once")


@pytest.fixture(scope="session")
def protection_zoo(made_once: MadeOnce) -> Path:
    """A folder of runs: the smoke run of `intellectual_property_protection` with a trained zoo."""
    # Not above, since most tests need none of what this imports.
    from tests.support.protection_run import train_protection_zoo

    return made_once("protection_zoo", train_protection_zoo)


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden files; its README says where each came from."""
    return Path(__file__).parent / "golden"


@pytest.fixture
def header() -> FieldHeader:
    """The header of a field with 3 steps, to be changed with `dataclasses.replace`."""
    return FieldHeader(
        model="torchvision:resnet18",
        weights_sha256="ab" * 32,
        target="predicted_class",
        baseline="0.0",
        rule="gausslegendre",
        n_steps=3,
        cumulative=True,
        scale_by_path=True,
        dtype="float32",
        storage="float32",
        references_sha256="cd" * 32,
        config_sha256="",
        versions={"torch": "2.0", "numpy": "1.26"},
    )


@pytest.fixture
def write_store() -> Callable[[Path, FieldHeader, Tensor], Path]:
    """Writes a field in two blocks as a store; its references are ``ref/0``, ``ref/1`` …"""

    def write(path: Path, header: FieldHeader, field: Tensor) -> Path:
        ids = [f"ref/{i}" for i in range(len(field))]
        with FieldStore.create(path, header, ids, field.shape[2:]) as writer:
            writer.append(field[:1])
            writer.append(field[1:])
        return path

    return write

"""The smoke run of `intellectual_property_protection` that several files of tests begin with."""

from pathlib import Path

import pytest

from intellectual_property_protection.config import IPPConfig
from intellectual_property_protection.train import train
from modelgif.experiment.config import load_config
from modelgif.experiment.run import Run, open_run

TESTBED = "intellectual_property_protection"
CONFIG = Path(__file__).parents[2] / TESTBED / "configs" / "smoke.yaml"


def open_protection_run(root: Path) -> Run[IPPConfig]:
    """The run of smoke.yaml in a folder of runs."""
    config = load_config(IPPConfig, CONFIG, ["device=cpu"])
    return open_run(config, testbed=TESTBED, name="smoke", root=root)


def train_protection_zoo(root: Path) -> None:
    """Trains its zoo, in this process."""
    run = open_protection_run(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{TESTBED}.train.workers_on", lambda device: 1)
        with run.stage("train"):
            train(run)

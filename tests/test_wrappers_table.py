"""The table of wrappers in docs/security.md is that of the measured results, and complete."""

import pandas as pd
import pytest
from torch import nn

from docs.blocks import ROOT
from modelgif.experiment.networks import convnet
from modelgif.loading.preprocessing import Preprocessed
from modelgif.reporting.table import to_markdown

BENCHMARKS = ROOT / "benchmarks"
RESULTS = BENCHMARKS / "results" / "wrappers.csv"


@pytest.fixture
def wrappers(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import wrapped_models
    import wrappers

    return wrapped_models, wrappers


def test_the_page_shows_the_results(wrappers):
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    section = page.split("<!-- begin wrappers -->")[1].split("<!-- end wrappers -->")[0]
    table = to_markdown(wrappers[1].summary(pd.read_csv(RESULTS)), digits=3)
    assert section.strip().startswith(table.strip()), "run benchmarks/wrappers.py"


def test_every_wrapper_was_tried(wrappers):
    honest = Preprocessed(convnet(1, 10))
    assert set(wrappers[0].wrappers(honest)) < set(pd.read_csv(RESULTS)["suspect"])


def test_every_wrapper_makes_a_model(wrappers):
    victim, honest = (Preprocessed(convnet(1, 10)).eval() for _ in range(2))
    for name, (_, wrap) in wrappers[0].wrappers(honest).items():
        assert isinstance(wrap(victim), nn.Module), name

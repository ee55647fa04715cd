"""The registry: which scores there are, what each declares, and that the documentation knows it."""

import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import click
import pytest

from modelgif import transferability
from modelgif.cli.select import _ScoreName
from modelgif.transferability import registry
from modelgif.transferability.score import Invariance, Needs

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "transferability.md"
SCORES = transferability.scores()


def test_every_file_of_estimators_registers_its_scores() -> None:
    folder = ROOT / "modelgif" / "transferability" / "estimators"
    files = {file.stem for file in folder.glob("*.py")} - {"__init__"}
    assert {score.compute.__module__.rpartition(".")[2] for score in SCORES.values()} == files
    assert list(SCORES) == sorted(SCORES)


@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_what_it_declares(name: str) -> None:
    score = SCORES[name]
    assert getattr(transferability, name) is score.compute
    assert score.name == name
    assert score.needs in get_args(Needs)
    assert score.invariances <= set(get_args(Invariance))
    assert score.source
    assert score.measures
    assert ">>> " in (score.compute.__doc__ or ""), f"give {name} an example of three lines"
    assert all(default is not None or "components" in key for key, default in score.options.items())
    if score.parts is not None:
        returned = score.parts.compute.__annotations__["return"]
        assert returned._fields == tuple(score.parts.signs)


def test_the_command_offers_every_score_of_features() -> None:
    features = transferability.scores(needs="features")
    for name in features:
        assert _ScoreName().convert(name, None, None) == name
    with pytest.raises(click.BadParameter, match=f"'leep' is not one of {', '.join(features)}"):
        _ScoreName().convert("leep", None, None)


def test_titles_are_unique() -> None:
    assert len({score.title for score in SCORES.values()}) == len(SCORES)


def test_scores_are_chosen_by_what_they_need() -> None:
    features = transferability.scores(needs="features")
    probabilities = transferability.scores(needs="probabilities")
    assert {"leep", "nce"} <= set(probabilities)
    assert {"logme", "knn"} <= set(features)
    assert sorted([*features, *probabilities]) == list(SCORES)


def test_randomness_and_options_are_read_from_the_function() -> None:
    assert {SCORES[name].is_seeded for name in ("linear_probe", "nleep", "parc")} == {True}
    assert {SCORES[name].is_seeded for name in ("logme", "knn", "leep")} == {False}
    assert SCORES["knn"].options == {"n_neighbours": 5, "metric": "cosine"}


def test_two_scores_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from modelgif.transferability.estimators import gbc

    doubled = (*gbc.SCORES, replace(gbc.SCORES[0], title="another"))
    monkeypatch.setattr(gbc, "SCORES", doubled)
    registry._registered.cache_clear()
    try:
        with pytest.raises(ValueError, match="two transferability scores are called gbc"):
            transferability.scores()
    finally:
        monkeypatch.undo()
        registry._registered.cache_clear()
    assert list(transferability.scores()) == list(SCORES)


def test_the_documentation_has_every_score_and_no_other() -> None:
    documented = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    missing, unknown = set(SCORES) - documented, documented - set(SCORES)
    assert not missing, f"docs/transferability.md lacks {missing}: run python -m docs.fill"
    assert not unknown, f"docs/transferability.md has {unknown}, which no file registers"

"""Every file of the hostile corpus is refused, with a reason, and does nothing."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelgif.loading.errors import CheckpointError
from modelgif.loading.load import load_model
from tests.support.hostile_files import hostile_files
from tests.support.hostile_weights import link_to_a_secret

pytestmark = pytest.mark.slow

MOST_SECONDS, MOST_MEMORY, LONGEST_MESSAGE = 5.0, 2**30, 5000
FILES = {hostile.name: hostile for hostile in hostile_files()}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What became of each file, in a process that may crash, hang or be killed by one."""
    folder = tmp_path_factory.mktemp("hostile")
    log = folder / "outcomes.jsonl"
    with log.open("w") as file:
        process = subprocess.run(
            [sys.executable, "-m", "tests.support.hostile_files", str(folder)],
            cwd=Path(__file__).parents[1],
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
            timeout=900,
        )
    found = {(row := json.loads(line))["name"]: row for line in log.read_text().splitlines()}
    unread = [name for name in FILES if name not in found]
    assert process.returncode == 0, f"{unread[:1]} ended the reader: {process.stderr[-2000:]}"
    return found


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_and_does_nothing(name: str, outcomes) -> None:
    found, path = outcomes[name], Path(outcomes[name]["path"])
    assert found["error"] is not None, "it was read as if it were sound"
    assert "ValueError" in found["error"], f"{found['error'][0]}: {found['message']}"
    # A message names the file, or its card.
    assert path.name in found["message"] or path.with_suffix(".json").name in found["message"]
    assert re.search(FILES[name].says, found["message"], re.IGNORECASE), found["message"]
    assert len(found["message"]) < LONGEST_MESSAGE
    assert not found["ran"]
    assert found["seconds"] < MOST_SECONDS
    assert found["growth"] < MOST_MEMORY


def test_code_in_the_files_is_live(outcomes) -> None:
    with_code = [name for name, hostile in FILES.items() if hostile.ignite is not None]
    assert len(with_code) >= 30
    duds = {name: outcomes[name] for name in with_code if not outcomes[name]["live"]}
    assert duds == {}


def test_a_message_does_not_tell_what_a_file_holds(tmp_path: Path) -> None:
    path = link_to_a_secret(tmp_path, tmp_path / "mark")
    with pytest.raises(CheckpointError) as refusal:
        load_model(f"file:{path}?architecture=torchvision%3Aresnet18")
    assert "secret-words" not in str(refusal.value)

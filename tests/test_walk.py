"""Every command of the documentation works, and what pages show is what the code says.

Pages are run as they stand, each in a copy of the repository with a small zoo in the place of the
demo's. What would take long is checked: that files, modules, settings and options are there.
"""

import importlib
import importlib.util
import re
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import pytest
import torch

from docs.blocks import ROOT, Block, blocks, run_blocks, workshop
from docs.fill import SHOWING
from docs.numbers_shown import tables
from modelgif.cli.main import main
from modelgif.experiment.config import Config, ConfigError, load_config
from modelgif.loading.checkpoint import read_checkpoint
from modelgif.references.file import read_references

PAGES = {
    str(page.relative_to(ROOT)): page
    for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")])
}
SMOKE = "intellectual_property_protection/configs/smoke.yaml"
# Of the ImageNet networks that a page copies.
SIZES = {"lite0": 224, "lite1": 240, "lite2": 260}
# Commands of others, whose arguments are theirs.
OTHERS = {"apt-get", "cd", "cp", "echo", "eval", "export", "git", "ls", "mkdir", "pip", "sha256sum"}


@pytest.fixture(scope="module")
def runs(protection_zoo, tmp_path_factory):
    """A folder of runs that has a zoo where the demo would leave one."""
    root = tmp_path_factory.mktemp("runs")
    (trained,) = (protection_zoo / "intellectual_property_protection").iterdir()
    demo = root / "intellectual_property_protection" / trained.name.replace("smoke", "demo")
    shutil.copytree(trained, demo)
    return root


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """The folder of the copies of the repository in which pages run, each named by its page."""
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def printed(runs, copies):
    """What the blocks of each page print; two pages at a time."""

    def run_page(name):
        copy = workshop(copies / Path(name).stem)
        (copy / "runs").mkdir()
        (copy / "runs" / "intellectual_property_protection").symlink_to(
            runs / "intellectual_property_protection"
        )
        found = [block for block in blocks(PAGES[name]) if not block.not_run]
        return list(zip(found, run_blocks(found, copy), strict=True))

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(SHOWING, pool.map(run_page, SHOWING), strict=True))


@pytest.mark.parametrize("page", SHOWING)
def test_the_page_runs_and_its_outputs_are_shown(printed, page):
    shown = PAGES[page].read_text(encoding="utf-8")
    for block, text in printed[page]:
        if block.output:
            section = shown.split(f"<!-- begin {block.output} -->")[1]
            section = section.split(f"<!-- end {block.output} -->")[0]
            assert skeleton(text), block.code
            assert skeleton(section) == skeleton(text), f"run python -m docs.fill outputs: {page}"


def skeleton(output: str) -> list[str]:
    """What lines are about: numbers, widths and notes differ between zoos."""
    lines = output.replace("```text", "").replace("```", "").splitlines()
    return [
        f"{line.count('|')} columns" if line.startswith("|") else re.split(r"[:\d]", line)[0]
        for line in lines
        if line.strip() and not line.startswith("note:")
    ]


def test_stores_read_with_h5py_alone_have_the_commands_distance(printed):
    text = "".join(text for _, text in printed["docs/field_format.md"])
    (alone,) = re.findall(r"^distance ([0-9.]+)$", text, re.MULTILINE)
    row = next(line for line in text.splitlines() if line.startswith("| 1-"))
    assert float(row.split("|")[3]) == pytest.approx(float(alone), abs=6e-4)


def test_the_example_of_a_testbed_finds_what_it_expects(printed):
    text = "".join(text for _, text in printed["docs/add_a_testbed.md"])
    found = [float(line.split("|")[3]) for line in text.splitlines() if "| distance |" in line]
    assert len(found) == 5
    assert found[0] == 0
    assert found == sorted(found)
    assert found[-1] > 0.2


def test_the_imagenet_copies_of_a_page_are_what_they_say(printed, copies):
    text = "".join(text for _, text in printed["docs/what_a_distance_means.md"])
    (names,) = re.findall(r"^imagenet: (.+), and 4 references$", text, re.MULTILINE)
    folder = copies / "what_a_distance_means" / "imagenet"
    original, _ = read_checkpoint(folder / "lite0.safetensors")
    for name in names.split(", "):
        state, card = read_checkpoint(folder / f"{name}.safetensors")
        assert card["preprocessing"]["size"] == [SIZES[name[:5]]] * 2
        if name.startswith("lite0-"):
            assert any(not torch.equal(state[key], original[key]) for key in original)
    assert read_references(folder / "references.safetensors").images.shape[0] == 4


@pytest.mark.parametrize("page", sorted(tables()))
def test_tables_are_those_of_the_results(page):
    text = PAGES[page].read_text(encoding="utf-8")
    for name, table in tables()[page].items():
        section = text.split(f"<!-- begin {name} -->")[1].split(f"<!-- end {name} -->")[0]
        assert section.strip() == table.strip(), f"run python -m docs.fill for {page}, {name}"


def commands(page: Path) -> list[str]:
    """The commands in blocks that are not run, and those in the midst of text."""
    name = str(page.relative_to(ROOT))
    found = [
        line
        for block in blocks(page)
        if block.language == "bash" and not block.title and (block.not_run or name not in SHOWING)
        for line in logical_lines(block)
    ]
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    starts = r"bash \S+\.sh|python -m \w+\.|modelgif \w+ "
    return found + re.findall(rf"(?<!`)`((?:{starts})[^`]*)`", text)


def logical_lines(block: Block) -> list[str]:
    return [line for line in block.code.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_are_not_run_are_sound(page):
    for command in commands(PAGES[page]):
        try:
            check(shlex.split(command, comments=True))
        except Exception as error:
            error.add_note(f"in the command: {command}")
            raise


def check(words: list[str]) -> None:
    """Checks that a command's files, modules, settings and options are there."""
    while words and re.fullmatch(r"[A-Za-z_]+=\S*", words[0]):
        words = words[1:]
    if not words or words[0] in OTHERS:
        return
    name = words[0]
    if name == "sbatch":
        words = [word for word in words if not word.startswith("--")]
    if name in ("bash", "sbatch"):
        subprocess.run(["bash", "-n", ROOT / words[1]], check=True)
        if words[1] == "test.sh":
            assert all((ROOT / word).exists() for word in words[2:] if word.startswith("tests/"))
        check_settings(words[2:])
    elif name == "python" and words[1] == "-m":
        if "<" not in words[2]:
            assert importlib.util.find_spec(words[2]), words[2]
        check_settings(words[3:])
    elif name == "python":
        assert (ROOT / words[1]).is_file(), words[1]
    elif name == "modelgif":
        check_options(words[1:])
    else:
        raise AssertionError(f"{name} is no command that this test knows")


def check_settings(words: list[str]) -> None:
    """Loads a configuration with its settings, as its testbed would."""
    configs = [word for word in words if word.endswith(".yaml") and not re.search("[*<]", word)]
    for config in configs:
        testbed = config.partition("/")[0]
        stage = importlib.import_module(f"{testbed}.train")
        (kind,) = (
            value
            for value in vars(stage).values()
            if isinstance(value, type)
            and issubclass(value, Config)
            and "seed" in value.model_fields
        )
        load_config(
            kind, ROOT / config, [word for word in words if re.match(r"[a-z_.0-9]+=", word)]
        )


def check_options(words: list[str]) -> None:
    """Parses a verb's arguments, without its files."""
    command, context = main, click.Context(main)
    while isinstance(command, click.Group):
        name = words.pop(0)
        command = command.get_command(context, name)
        assert command is not None, name
    if "--help" not in words and words:
        try:
            command.make_context(name, list(words))
        except click.BadParameter as error:
            if "does not exist" not in str(error):
                raise


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("bash nowhere.sh", "bash"),
        (f"bash demo.sh {SMOKE} feild.n_steps=2", "feild"),
        (f"bash demo.sh {SMOKE.replace('smoke', 'smike')}", "no such file"),
        ("bash test.sh tests/test_nothing.py", "all"),
        ("python -m docs.nothing", "docs.nothing"),
        ("python examples/nothing.py", "nothing.py"),
        ("modelgif compair a b --references digits", "compair"),
        ("modelgif compare a b --reference-images digits", "reference-images"),
        ("rm x", "no command that this test knows"),
    ],
)
def test_the_checks_find_what_is_wrong(command, message):
    errors = (AssertionError, ConfigError, click.UsageError, subprocess.CalledProcessError)
    with pytest.raises(errors, match=message):
        check(shlex.split(command))


def test_the_checks_let_pass_what_is_right():
    check(shlex.split(f"bash demo.sh {SMOKE} seed=3 field.n_steps=2"))
    check(shlex.split("modelgif verdict --victim a --suspect b c --independent d --steps 3"))


def test_a_failing_command_fails_its_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```bash\necho one\n```\n\n<!-- not run: no -->\n```bash\nfalse\n```\n\n```bash\nx\n```\n"
    )
    found = blocks(page)
    assert [block.not_run for block in found] == ["", "no", ""]
    assert run_blocks(found[:1], tmp_path) == ["one\n"]
    with pytest.raises(RuntimeError, match="x: command not found"):
        run_blocks([found[0], found[2]], tmp_path)

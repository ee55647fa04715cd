import ast
import importlib
import json
import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from modelgif.cli.main import main
from modelgif.loading.checkpoint import read_card, write_checkpoint
from modelgif.loading.load import load_model

pytestmark = pytest.mark.slow

NETWORK = "python:modelgif.experiment.networks:convnet?num_classes=10&width=4"
GREY = f"{NETWORK}&in_channels=1"
independents = importlib.import_module("modelgif.cli.independents")
QUICK = ("epochs=2", "learning_rate=0.02", "--workers", "1")


def run(*arguments, status=0):
    done = CliRunner().invoke(main, ["independents", *map(str, arguments)])
    assert done.exit_code == status, done.output
    return done


@pytest.fixture(scope="module")
def suspect(tmp_path_factory):
    path = tmp_path_factory.mktemp("suspect") / "theirs.safetensors"
    network = load_model(f"{GREY}&seed=4").network
    write_checkpoint(path, network, {"architecture": GREY})
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of dark and bright images."""
    folder = tmp_path_factory.mktemp("photos")
    generator = torch.Generator().manual_seed(0)
    for name, brightness in (("bright", 155), ("dark", 0)):
        (folder / name).mkdir()
        for number in range(40):
            pixels = torch.randint(100, (12, 12, 3), generator=generator) + brightness
            Image.fromarray(pixels.to(torch.uint8).numpy()).save(folder / name / f"{number}.png")
    return folder


def test_from_a_suspect_to_the_verdict(suspect, tmp_path):
    folder = tmp_path / "my models"
    options = ("--like", suspect, "--images", "digits", "-o", folder, "-n", "3", *QUICK)
    done = run(*options, "--json")
    assert "3 to make: 2 epochs of 1081 images each, 102 training steps" in done.stderr
    found = json.loads(done.stdout)
    assert [Path(row["model"]).stem for row in found["models"]] == [
        f"independent-00{number}" for number in (1, 2, 3)
    ]
    assert (found["made"], found["skipped"], found["notes"]) == (3, 0, [])
    for row in found["models"]:
        assert row["accuracy"] == read_card(row["model"])["accuracy"]
        assert row["learned"]
        assert row["was"] == "made"
    assert found["next"] == (
        f"modelgif verdict --victim VICTIM --suspect {suspect} "
        f"--independent '{folder}'/*.safetensors --references digits"
    )
    again = run(*options)
    assert "3 models are there already; nothing is left to do." in again.stderr
    assert "| there | True |" in again.stdout
    names = [row["model"] for row in found["models"]]
    verdict = CliRunner().invoke(
        main,
        [
            *("verdict", "--victim", names[0], "--suspect", str(suspect)),
            *("--independent", names[1], "--independent", names[2]),
            *("--references", "digits", "-n", "16", "--steps", "2"),
        ],
    )
    assert verdict.exit_code == 4, verdict.output
    assert "2 of its architecture" in verdict.stdout


def test_a_dry_run_only_says_what_it_would_take(suspect, tmp_path):
    folder = tmp_path / "new"
    options = ("--from", suspect, "--images", "digits", "-o", folder, "--dry-run")
    found = json.loads(run(*options, "--json").stdout)
    assert (found["made"], found["from"]) == (19, f"file:{suspect}")
    assert found["training_steps"] == 19 * 15 * 17
    assert found["estimated_minutes"] > 0
    assert "19 to make: 15 epochs of 1081 images each" in found["cost"]
    assert "19 to make" in run(*options).stdout
    assert not folder.exists()


def test_a_folder_of_images_and_another_number_of_classes(photos, suspect, tmp_path):
    done = run(
        *("--from", suspect, "--images", photos, "--size", "8", "--channels", "1", "-n", "1"),
        *("-o", tmp_path / "new", "--like", suspect, *QUICK, "epochs=20", "batch_size=8", "--json"),
    )
    found = json.loads(done.stdout)
    classes, verdict = found["notes"]
    assert "has 10 classes, the images 2. head was replaced" in classes
    assert "count as another architecture in modelgif verdict" in verdict
    assert classes in done.stderr
    (row,) = found["models"]
    card = read_card(row["model"])
    assert card["data"] == photos.name
    assert card["n_images"] == 2 * 26  # of 40 per class, 32 are not held out, and 0.8 of these
    assert (card["accuracy"], row["learned"], card["chance"]) == (1.0, True, 0.5)
    assert found["next"].endswith(f"--references {photos} --size 8 --channels 1")


def test_models_that_did_not_learn_are_named(suspect, tmp_path):
    done = run(
        *("--like", suspect, "--images", "digits", "-n", "1", "-o", tmp_path),
        *("epochs=1", "learning_rate=1e-9"),
    )
    assert (
        "note: independent-001: not to be told from chance (0.102) on 450 held-out" in done.stdout
    )
    assert "next:" not in done.stdout


def test_a_recipe_file(suspect, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("epochs: 3\nbatch_size: 500\n")
    options = ("--like", suspect, "--images", "digits", "-o", tmp_path / "new", "--dry-run")
    found = json.loads(run(*options, "--recipe", recipe, "epochs=2", "--json").stdout)
    assert found["training_steps"] == 19 * 2 * 3


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--images", "digits"], 2, "give --like, a model of the architecture to train, or --from"),
        (["--like", GREY, "--images", "digit"], 1, "Did you mean digits?"),
        (["--like", GREY, "--images", "{photos}"], 2, "give --size, in pixels per side"),
        (["--like", GREY, "--images", "digits", "epoch=3"], 1, "did you mean epochs?"),
        (["--like", "hf:microsoft/resnet-18", "--images", "digits"], 1, "does not say which arch"),
        (["--like", "missing.safetensors", "--images", "digits"], 1, "there is no card missing"),
        (
            ["--like", GREY, "--images", "{photos}", "--size", "9"],
            1,
            "does not take the images, which are [3, 9, 9]",
        ),
        (
            ["--from", GREY.replace("=4", "=5"), "--like", GREY, "--images", "digits"],
            1,
            "must have the suspect's architecture",
        ),
    ],
)
def test_what_cannot_be_done_is_said_at_once(options, status, message, photos, tmp_path):
    options = [option.format(photos=photos) for option in options]
    done = run(*options, "-o", tmp_path / "new", status=status)
    assert message in done.stderr
    assert not (tmp_path / "new").exists()


def test_bad_images_are_named(tmp_path, photos):
    options = ("--like", GREY, "--size", "8", "--channels", "1", "-o", tmp_path / "new")
    one = tmp_path / "one"
    one.mkdir()
    (one / "bright").symlink_to(photos / "bright")
    done = run(*options, "--images", one, status=1)
    assert "one must have at least 2 classes, got bright alone" in done.stderr
    (one / "dark").mkdir()
    for number in range(5):
        (one / "dark" / f"{number}.png").write_bytes(b"no image")
    assert re.search("dark/[0-4].png is ", run(*options, "--images", one, status=1).stderr)


def test_models_of_another_recipe_stay(suspect, tmp_path):
    options = ("--like", suspect, "--images", "digits", "-n", "1", "-o", tmp_path, "epochs=1")
    run(*options)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    done = run(*options, "learning_rate=0.5", status=1)
    assert "learning_rate is 0.003 there and 0.5 here. Nothing was changed" in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_failed_training_is_one_message(tmp_path):
    done = run(
        *("--like", GREY, "--images", "digits", "-n", "1", "-o", tmp_path),
        *("epochs=1", "learning_rate=1e30", "optimizer=sgd", "schedule=constant"),
        status=1,
    )
    assert "1 of 1 failed:\nindependent-001: the loss is" in done.stderr


def test_the_module_imports_neither_torch_nor_pandas_itself():
    tree = ast.parse(Path(independents.__file__).read_text())
    imported = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    # The options and the printing of all verbs are its only parts of this package.
    own = {"modelgif.cli.options", "modelgif.cli.printing"}
    assert imported == own | {"click", "pathlib", "shlex", "typing"}

import gc
import json
import os
import subprocess
import sys
import tomllib
import weakref
from pathlib import Path

import click
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from modelgif.cli import extras, options
from modelgif.cli.main import _VERBS, main
from modelgif.distances.distance import distance
from modelgif.fields.gradient_field import gradient_field
from modelgif.loading.checkpoint import write_checkpoint
from modelgif.loading.load import load_model
from modelgif.references.file import read_references, write_references
from modelgif.references.references import References
from modelgif.storage.field_store import FieldStore

NETWORK = "python:modelgif.experiment.networks:convnet?in_channels=1&num_classes=10&width=4"
FEW = ["--references", "digits", "-n", "6", "--steps", "3"]
# Fewer decide nothing.
ENOUGH = ["--references", "digits", "-n", "20", "--steps", "3"]


def run(*arguments, status=0):
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    allowed = status if isinstance(status, tuple) else (status,)
    assert done.exit_code in allowed, done.output
    return done


def said(*arguments, status=0):
    return json.loads(run(*arguments, "--json", status=status).stdout)


def near_copy(model, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    state = model.network.state_dict()
    for name, weight in state.items():
        if weight.is_floating_point():
            noise = torch.randn(weight.shape, generator=generator)
            state[name] = weight + scale * weight.abs().mean() * noise
    return state


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """A victim, a near copy of it, and honest models, as checkpoints."""
    folder = tmp_path_factory.mktemp("zoo")
    card = {"architecture": NETWORK, "preprocessing": {"mean": [0.3], "std": [0.4]}}
    victim = load_model(f"{NETWORK}&seed=1")
    write_checkpoint(folder / "victim.safetensors", victim.network, card)
    write_checkpoint(folder / "copy.safetensors", near_copy(victim, 0.02, 0), card)
    for number in range(20):
        honest = load_model(f"{NETWORK}&seed={number + 10}")
        write_checkpoint(folder / f"honest{number}.safetensors", honest.network, card)
    return folder


def honest(zoo, numbers):
    return [str(zoo / f"honest{number}.safetensors") for number in numbers]


def test_compare_gives_the_librarys_distance(zoo):
    found = said("compare", zoo / "victim.safetensors", zoo / "copy.safetensors", *FEW)
    models = [load_model(f"file:{zoo / name}.safetensors") for name in ("victim", "copy")]
    saved = zoo / "references.safetensors"
    run("extract", zoo / "victim.safetensors", *FEW, "-o", zoo / "fields")
    references = read_references(zoo / "fields" / "references.safetensors")
    write_references(saved, references)
    baseline = references.images.double().mean((0, 2, 3), keepdim=True).float()
    options = {"target": "class_contrast", "baseline": baseline, "n_steps": 3}
    fields = [gradient_field(model, references.images, **options) for model in models]
    assert found["distance"] == pytest.approx(distance(*fields), abs=1e-6)
    labels = [model(references.images).argmax(1) for model in models]
    assert found["label_disagreement"] == (labels[0] != labels[1]).double().mean().item()
    assert found["same_architecture"]
    assert found["references"] == 6
    with FieldStore(zoo / "fields" / "victim.h5") as store:
        assert torch.equal(store[0:6], fields[0])
    again = said(
        *("compare", zoo / "victim.safetensors", zoo / "copy.safetensors"),
        *("--references", saved, "--steps", "3"),
    )
    assert again == found


def test_distance_of_all_pairs(zoo, tmp_path):
    models = [zoo / "victim.safetensors", zoo / "copy.safetensors", *honest(zoo, [0])]
    found = said(
        "distance", *models, *FEW, "-o", tmp_path / "d.csv", "--figure", tmp_path / "d.png"
    )
    table = pd.DataFrame(found["distances"]).set_index("model")
    assert list(table.columns) == list(table.index) == ["victim", "copy", "honest0"]
    assert (table.to_numpy().diagonal() == 0).all()
    assert table.loc["victim", "copy"] < table.loc["victim", "honest0"]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "d.csv", index_col="model"), table)
    with Image.open(tmp_path / "d.png") as picture:
        assert min(picture.size) > 100


def test_stores_are_compared_as_their_models_are(zoo, tmp_path):
    models = [zoo / "victim.safetensors", zoo / "copy.safetensors"]
    run("extract", *models, *FEW, "-o", tmp_path)
    stores = [tmp_path / "victim.h5", tmp_path / "copy.h5"]
    found, again = said("distance", *stores), said("distance", *models, *FEW)
    assert found["notes"] == again["notes"] == []
    for row, same in zip(found["distances"], again["distances"], strict=True):
        assert row == pytest.approx(same, abs=1e-6)
    refused = run("distance", *stores, "--steps", "3", status=2)
    assert "leave out --steps" in refused.stderr
    assert "not both" in run("distance", stores[0], models[1], *FEW, status=2).stderr


def verdict_of(zoo, suspect, *options, n=19, status):
    independents = [
        word for model in honest(zoo, range(1, n + 1)) for word in ("--independent", model)
    ]
    return said(
        *("verdict", "--victim", zoo / "victim.safetensors", "--suspect", suspect),
        *independents,
        *ENOUGH,
        *options,
        status=status,
    )


def test_a_copy_is_derived_and_an_honest_model_is_not(zoo):
    found = verdict_of(zoo, zoo / "copy.safetensors", status=3)
    (row,) = found["verdicts"]
    assert row["verdict"] == "derived"
    assert row["p-value"] == 0.05
    assert row["compared with"] == "19 of its architecture"
    (row,) = verdict_of(zoo, zoo / "honest0.safetensors", status=(0, 4))["verdicts"]
    assert row["verdict"] in ("independent", "undecided")


def test_suspects_and_independents_may_be_listed_as_shells_do(zoo):
    victim, suspect = zoo / "victim.safetensors", zoo / "copy.safetensors"
    others = honest(zoo, [1, 2])
    listed = ["--suspect", suspect, *honest(zoo, [0]), "--independent", *others, *ENOUGH]
    repeated = ["--suspect", suspect, "--suspect", *honest(zoo, [0])]
    repeated += ["--independent", others[0], "--independent", others[1], *ENOUGH]
    found = said("verdict", *listed, "--victim", victim, status=4)
    assert [row["suspect"] for row in found["verdicts"]] == ["copy", "honest0"]
    assert found == said("verdict", "--victim", victim, *repeated, status=4)


def test_few_independents_decide_nothing_and_say_how_many_would(zoo):
    found = verdict_of(zoo, zoo / "copy.safetensors", n=5, status=4)
    assert found["verdicts"][0]["verdict"] == "undecided"
    assert "19 would suffice" in " ".join(found["notes"])


def test_the_verdicts_report(zoo, tmp_path):
    page = tmp_path / "report.html"
    verdict_of(zoo, zoo / "copy.safetensors", "--report", page, status=3)
    text = page.read_text(encoding="utf-8")
    assert "Was copy made from victim?" in text
    assert "copy: derived, because its function is nearer to the victim&#39;s" in text
    assert "by field and labels, p = 0.050 among 19 independent models" in text
    # The matching of hidden units, three pictures of distances, and pixels.
    assert text.count("data:image/png;base64,") == 5
    assert "modelgif" in text


def test_a_verdict_needs_no_independent_model(zoo, tmp_path):
    """Weights alone show a common origin; whether that is theft, the owner's statement decides."""
    card = {"architecture": NETWORK.replace("&width=4", "")}
    victim = load_model(card["architecture"], seed=987_654)
    models = {"mine": victim.network, "theirs": near_copy(victim, 0.1, 0)}
    models["other"] = load_model(card["architecture"], seed=123_987).network
    for name, model in models.items():
        write_checkpoint(tmp_path / f"{name}.safetensors", model, card)
    words = ["verdict", "--victim", tmp_path / "mine.safetensors", *ENOUGH, "--suspect"]
    words += [tmp_path / "theirs.safetensors", "--suspect", tmp_path / "other.safetensors"]
    found = said(*words, status=4)
    assert [row["verdict"] for row in found["verdicts"]] == ["common origin", "undecided"]
    assert "--own-initialisation" in found["verdicts"][0]["would settle"]
    found = said(*words, "--own-initialisation", status=3)
    assert [row["verdict"] for row in found["verdicts"]] == ["derived", "undecided"]
    assert [line["name"] for line in found["verdicts"][0]["evidence"]] == [
        *("origin", "changes", "field and labels")
    ]
    assert found["verdicts"][0]["evidence"][0]["log10_p"] < -20
    written = run(*words, status=4).stdout
    assert "theirs: common origin: it descends from the victim's random start" in written


def test_a_common_seed_is_no_private_start(tmp_path):
    card = {"architecture": NETWORK.replace("&width=4", "")}
    victim = load_model(card["architecture"], seed=42)
    write_checkpoint(tmp_path / "mine.safetensors", victim.network, card)
    write_checkpoint(tmp_path / "theirs.safetensors", near_copy(victim, 0.1, 0), card)
    found = said(
        *("verdict", "--victim", tmp_path / "mine.safetensors", "--own-initialisation"),
        *("--suspect", tmp_path / "theirs.safetensors", *ENOUGH),
        status=4,
    )
    assert found["verdicts"][0]["verdict"] == "common origin"
    assert "that of the seed 42" in " ".join(found["notes"])


def test_select_ranks_by_what_features_tell(tmp_path):
    for label, shade in (("dark", 60), ("light", 190)):
        (tmp_path / label).mkdir()
        for number in range(12):
            image = Image.effect_noise((10, 10), 40).point(lambda v, s=shade: (v + s) // 2)
            image.convert("RGB").save(tmp_path / label / f"{number}.png")
    models = [
        f"python:modelgif.experiment.networks:convnet?in_channels=3&num_classes=2&seed={seed}"
        for seed in (1, 2)
    ]
    found = said("select", *models, "--data", tmp_path, "--size", "8", "--score", "knn")
    assert found["images"] == 24
    assert found["classes"] == 2
    scores = [row["knn"] for row in found["models"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.9
    assert "by knn" in found["advice"] or "does not decide" in found["advice"]


def test_info_tells_files_apart(zoo, tmp_path):
    assert said("info", zoo / "victim.safetensors")["is"] == "a checkpoint"
    assert said("info", zoo / "victim.safetensors")["architecture"] == NETWORK
    run("extract", zoo / "victim.safetensors", *FEW, "-o", tmp_path)
    assert said("info", tmp_path / "victim.h5")["shape"] == [6, 3, 1, 8, 8]
    assert said("info", tmp_path / "references.safetensors")["is"] == "references"
    torch.save({"weight": torch.ones(2, 3)}, tmp_path / "plain.pt")
    assert said("info", tmp_path / "plain.pt")["weights"] == 6


def test_the_index_finds_the_copy(zoo, tmp_path):
    known = tmp_path / "known"
    copy = zoo / "copy.safetensors"
    done = said("index", "add", known, copy, *honest(zoo, [0, 1]), *FEW)
    assert done == {"added": 3, "models": 3}
    assert said("index", "add", known, *honest(zoo, [2]), *FEW) == {"added": 1, "models": 4}
    kept = ["--references", known / "references.safetensors", "--steps", "3"]
    found = said("index", "search", known, zoo / "victim.safetensors", *kept, "-k", "2")
    assert found["nearest"][0]["model"] == "copy"
    exact = said("compare", zoo / "victim.safetensors", copy, *kept)["distance"]
    assert found["nearest"][0]["distance"] == pytest.approx(exact, abs=0.01)
    other = run("index", "search", known, copy, *kept[:2], "--steps", "4", status=1)
    assert "n_steps" in other.stderr


def test_a_folder_of_images_is_a_source_of_references(zoo, tmp_path):
    generator = torch.Generator().manual_seed(0)
    for number in range(4):
        pixels = torch.randint(256, (9, 11, 3), generator=generator, dtype=torch.uint8)
        (tmp_path / "deeper").mkdir(exist_ok=True)
        Image.fromarray(pixels.numpy()).save(tmp_path / "deeper" / f"{number}.png")
    run(
        *("extract", zoo / "victim.safetensors", "--references", tmp_path, "--size", "8"),
        *("--channels", "1", "-n", "3", "--steps", "2", "-o", tmp_path / "out"),
    )
    references = read_references(tmp_path / "out" / "references.safetensors")
    assert references.images.shape == (3, 1, 8, 8)
    assert all(name.startswith("deeper/") for name in references.ids)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "a.safetensors", "b.safetensors", *FEW], "a.safetensors"),
        (["compare", NETWORK, NETWORK, "--references", "digit"], "Did you mean digits?"),
        (["compare", NETWORK, NETWORK, "--references", "."], "give --size"),
        (["info", __file__], "must end in .safetensors"),
    ],
)
def test_errors_are_one_message_and_status_1(arguments, message):
    done = run(*arguments, status=1)
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_what_was_not_understood_is_status_2():
    run("compare", "a", status=2)
    run("distance", NETWORK, *FEW, status=2)
    run("compare", NETWORK, NETWORK, "--references", "digits", "--baseline", "dark", status=2)


def test_help_names_every_verb():
    text = run("--help").stdout
    for verb in (
        "compare",
        "distance",
        "verdict",
        "independents",
        "select",
        "extract",
        "index",
        "info",
    ):
        assert verb in text
        assert "--json" in run(verb, *(["add"] if verb == "index" else []), "--help").stdout


def test_the_list_of_verbs_says_what_each_says_of_itself():
    for verb, text in _VERBS.items():
        said_itself = main.get_command(click.Context(main), verb).help
        assert said_itself.startswith(text.rstrip(".… ").split(":")[0][:30])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("modelgif com", ["plain,compare"]),
        ("modelgif in", ["plain,independents", "plain,index", "plain,info"]),
        ("modelgif index ", ["plain,add", "plain,search"]),
        ("modelgif verdict --sus", ["plain,--suspect"]),
        ("modelgif compare zo", ["file,zo"]),
        ("modelgif distance --prec", ["plain,--precision"]),
        ("modelgif distance --precision float6", ["plain,float64"]),
    ],
)
def test_shells_complete_verbs_options_and_files(line, expected, monkeypatch):
    words = line.split(" ")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    environment = {"_MODELGIF_COMPLETE": "bash_complete"}
    done = CliRunner().invoke(main, prog_name="modelgif", env=environment)
    assert done.stdout.split("\n")[: len(expected)] == expected


def test_one_reference_and_labels_that_cannot_be_compared(zoo, tmp_path):
    other = "python:modelgif.experiment.networks:convnet?in_channels=1&num_classes=3&seed=4"
    references = References(torch.rand(2, 1, 8, 8), ("a", "b"))
    write_references(tmp_path / "r.safetensors", references)
    found = said(
        *("compare", zoo / "victim.safetensors", other, "--steps", "2"),
        *("--references", tmp_path / "r.safetensors"),
    )
    assert found["label_disagreement"] is None
    assert not found["same_architecture"]


def test_every_model_is_loaded_once_and_one_at_a_time(zoo, monkeypatch):
    loaded, alive = [], []
    load = options.load

    def counted(address, **settings):
        gc.collect()
        alive.append(sum(model() is not None for _, model in loaded))
        model = load(address, **settings)
        loaded.append((address, weakref.ref(model)))
        return model

    monkeypatch.setattr(options, "load", counted)
    models = [str(zoo / "victim.safetensors"), *honest(zoo, range(4))]
    said("distance", *models, *FEW)
    assert [address for address, _ in loaded] == models
    assert max(alive) <= 1


def test_a_missing_file_is_named_before_any_model_is_described(zoo, monkeypatch):
    opened = []
    load = options.load
    monkeypatch.setattr(options, "load", lambda a, **s: opened.append(a) or load(a, **s))
    nowhere = str(zoo / "nowhere.safetensors")
    done = run("distance", zoo / "victim.safetensors", nowhere, *FEW, status=1)
    assert "nowhere.safetensors" in done.stderr
    assert opened == [nowhere]


HELP = """
import sys
from modelgif.cli.main import main

try:
    main(sys.argv[1:], prog_name="modelgif")
finally:
    heavy = {"torch", "pandas", "numpy", "matplotlib", "scipy", "h5py", "sklearn", "torchvision"}
    print("imported:", *sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["verdict"],
        ["select"],
        ["extract"],
        ["index", "add"],
        ["info"],
        ["compare"],
        ["independents"],
    ],
)
def test_help_imports_neither_torch_nor_pandas(words):
    done = subprocess.run(
        [sys.executable, "-c", HELP, *words, "--help"], capture_output=True, text=True, check=True
    )
    assert "Usage: modelgif" in done.stdout
    assert done.stdout.endswith("imported:\n")


@pytest.mark.parametrize(
    ("library", "words", "extra"),
    [
        ("matplotlib", ["distance", NETWORK, NETWORK, *FEW, "--figure", "d.png"], "report"),
        ("pandas", ["distance", NETWORK, NETWORK, *FEW, "-o", "d.csv"], "report"),
        (
            "torchvision",
            ["compare", NETWORK, NETWORK, "--references", ".", "--size", "8"],
            "images",
        ),
        ("sklearn", ["select", NETWORK, "--data", "digits"], "images"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(library, words, extra, tmp_path):
    blocked = f"import sys\nsys.modules[{library!r}] = None\n" + HELP
    done = subprocess.run(
        [sys.executable, "-c", blocked, *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert (
        f"needs {library}, which is not installed: pip install 'modelgif[{extra}]'" in done.stderr
    )
    assert list(tmp_path.iterdir()) == []


def test_the_extras_are_those_of_the_package():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    distributions = {"PIL": "pillow", "faiss": "faiss-cpu", "skimage": "scikit-image"}
    distributions |= {"sklearn": "scikit-learn", "yaml": "pyyaml"}
    for library, extra in extras.EXTRAS.items():
        wanted = distributions.get(library, library)
        assert any(
            requirement.startswith(wanted)
            for requirement in project["optional-dependencies"][extra]
        )
        assert not any(requirement.startswith(wanted) for requirement in project["dependencies"])

from pathlib import Path
from urllib.parse import quote

import pytest

from modelgif.loading.address import (
    as_address,
    did_you_mean,
    literal,
    parse_address,
    parse_architecture,
    with_query,
)


def test_an_address_is_taken_apart():
    address = parse_address("python:a.b:f?x=1&name=a%26b%3Fc&mean=0.5,1e-2&size=8&seed=3")
    assert (address.scheme, address.name) == ("python", "a.b:f")
    assert address.arguments() == {"x": 1, "name": "a&b?c"}
    assert address.arguments("x") == {"name": "a&b?c"}
    assert address.preprocessing() == {"mean": [0.5, 0.01], "size": [8]}
    assert address.seed == 3


def test_a_path_is_taken_literally():
    assert parse_address("file:C:/a%20b+c.safetensors").name == "C:/a%20b+c.safetensors"


def test_an_address_survives_as_a_value():
    inner = "torchvision:resnet18?num_classes=10&zero_init_residual=true"
    outer = parse_address(f"file:x.pt?architecture={quote(inner, safe='')}&mean=0&std=1")
    assert outer.query["architecture"] == inner
    assert outer.preprocessing() == {"mean": [0.0], "std": [1.0]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10),
        ("-0.5", -0.5),
        ("true", True),
        ("False", False),
        ("none", None),
        ("(1, 2)", (1, 2)),
        ("relu", "relu"),
        ("__import__('os')", "__import__('os')"),
        ("", ""),
    ],
)
def test_values_are_literals_or_text(text, value):
    assert literal(text) == value
    assert type(literal(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("torchvision:resnet18", False),
        ("torchvision:resnet18?weights=DEFAULT", True),
        ("torchvision:resnet18?weights=none", False),
        ("timm:resnet18?pretrained=true", True),
        ("timm:resnet18?pretrained=false", False),
        ("python:a:f?weights=DEFAULT", False),
    ],
)
def test_trained_weights_are_asked_for(text, expected):
    assert parse_address(text).asks_for_trained_weights is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resnet18", "form scheme:name.*got 'resnet18'.*torchvision:resnet18"),
        ("torchvision:", "form scheme:name"),
        ("torchvison:resnet18", "unknown scheme 'torchvison'.*file, hf.*mean torchvision?"),
        ("timm:x?", "key=value&key=value, each key once; got ''"),
        ("timm:x?a", "each key once; got 'a'"),
        ("timm:x?=1", "each key once; got '=1'"),
        ("timm:x?a=1&a=2", "each key once; got 'a=2'"),
    ],
)
def test_malformed_addresses_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_address(text)


def test_numbers_in_the_query_must_be_numbers():
    with pytest.raises(ValueError, match=r"numbers separated by commas.*got mean=0.5;0.5"):
        parse_address("timm:x?mean=0.5;0.5").preprocessing()
    with pytest.raises(ValueError, match=r"got size=8.5"):
        parse_address("timm:x?size=8.5").preprocessing()
    with pytest.raises(ValueError, match="seed must be an integer, got True"):
        _ = parse_address("timm:x?seed=true").seed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "must be an address such as .*, got None"),
        ("file:../../secret.safetensors", "must begin with python:, timm: or torchvision:"),
        ("hub:owner/repository:entry", "must begin with python:, timm: or torchvision:"),
        ("export:model.pt2", "must begin with python:, timm: or torchvision:"),
        ("hf:owner/model", "must begin with python:, timm: or torchvision:"),
        ("torchvision:resnet18?weights=DEFAULT", "asks for trained weights.*leave out weights="),
        ("timm:resnet18?pretrained=true", "leave out pretrained="),
        ("timm:resnet18?mean=0.5&std=1", "must not say mean, std or size"),
    ],
)
def test_an_architecture_brings_no_weights_and_no_preprocessing(text, message):
    with pytest.raises(ValueError, match=message):
        parse_architecture(text)


def test_near_misses():
    assert did_you_mean("resnt18", ["resnet18", "vgg11"]) == " Did you mean resnet18?"
    assert did_you_mean("zzz", ["resnet18"]) == ""


@pytest.mark.parametrize(
    ("model", "address"),
    [
        ("timm:resnet18.a1_in1k", "timm:resnet18.a1_in1k"),
        ("file:x.pt", "file:x.pt"),
        ("zoo/x.pt", "file:zoo/x.pt"),
        ("~/x.pt?mean=0.5&std=1", "file:~/x.pt?mean=0.5&std=1"),
        ("C:/zoo/x.pt", "file:C:/zoo/x.pt"),
        (Path("zoo") / "x.pt", "file:zoo/x.pt"),
        (Path("folder"), "file:folder"),
        # Not a path: told as an unknown scheme, or as no address at all.
        ("tim:resnet18.a1_in1k", "tim:resnet18.a1_in1k"),
        ("files:x.pt", "files:x.pt"),
        ("resnet18", "resnet18"),
    ],
)
def test_paths_become_addresses_of_files(model, address):
    assert as_address(model) == address


def test_a_file_whose_name_looks_like_a_scheme_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run:3.pt").touch()
    assert as_address("run:3.pt") == "file:run:3.pt"


def test_a_path_object_holds_no_query():
    with pytest.raises(ValueError, match=r"must not contain a question mark.*'a\?b.pt'.*rename"):
        as_address(Path("a?b.pt"))


VALUES = {
    "n": 10,
    "x": -0.5,
    "tiny": 1e-300,
    "on": True,
    "nothing": None,
    "pair": (1, 2.5),
    "act": "relu",
    "digits": "10",
    "word": "true",
    "odd": "a&b=c?d %41+é",
    "empty": "",
    "nested": [{"a": (1,)}, "b"],
}


def test_values_survive_an_address():
    found = parse_address(with_query("python:a:f?first=1", VALUES)).arguments()
    assert found == {"first": 1} | VALUES
    assert {k: type(v) for k, v in found.items()} == {"first": int} | {
        k: type(v) for k, v in VALUES.items()
    }
    assert with_query("python:a:f", {}) == "python:a:f"
    numbers = parse_address(with_query("timm:x", {"mean": [0.5, 0.25], "std": 2, "size": (8, 9)}))
    assert numbers.preprocessing() == {"mean": [0.5, 0.25], "std": [2.0], "size": [8, 9]}


@pytest.mark.parametrize("value", [object(), float("nan"), float("inf"), print])
def test_values_without_a_spelling_are_refused(value):
    with pytest.raises(TypeError, match=r"must be a number, a string, .*got v="):
        with_query("python:a:f", {"v": value})


def test_a_key_is_given_once():
    with pytest.raises(
        ValueError, match=r"n is given twice, as an argument and in python:a:f\?n=1"
    ):
        with_query("python:a:f?n=1", {"n": 1})

from urllib.parse import quote

import pytest

from modelgif.loading.address import did_you_mean, literal, parse_address, parse_architecture


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

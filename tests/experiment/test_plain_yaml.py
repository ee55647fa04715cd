import math
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from modelgif.experiment.plain_yaml import PlainYamlError, dump_yaml, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E+3", 1000.0),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("-7", -7),
        ("0", 0),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("010", "010"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("'1'", "1"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
    ],
)
def test_a_text_has_one_plain_meaning(text, value):
    parsed = parse_yaml(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' appears twice."),
        ("a:\n  - b: 1\n    b: 2", "line 3: the key 'b' appears twice."),
        ("a: 1\n2: 1", "line 2: a key must be a string, got 2."),
        ("a: 1\n[b]: 1", "line 2: a key must be a string, got ['b']."),
        ("a: 1\nb: !!python/object:os.system {}", "line 2: a YAML tag is not allowed here"),
        ("a: !!int x", "line 1: a YAML tag is not allowed here"),
        ("a: &x [1]", "line 1: a YAML anchor is not allowed here"),
        ("a: 1\nb: *x", "line 2: a YAML alias is not allowed here"),
        ("a: [1\nb: 2", "line 2: unreadable YAML: expected ',' or ']'"),
        ("a: 1\n---\nb: 2", "line 2: unreadable YAML: but found another document."),
        ("a: \0", "unreadable YAML: unacceptable character #x0000"),
    ],
)
def test_what_is_not_plain_is_refused_with_its_line(text, message):
    with pytest.raises(PlainYamlError, match="^" + re.escape(message)):
        parse_yaml(text)


_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"]))
    | st.sampled_from(["1e-3", "no", "null", "~", "010", "1.", "<<", "=", "true", "- a", "a: b"])
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text("ab1e-~", max_size=4), inner),
    max_leaves=8,
)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from("abcd"), _values))
def test_what_is_written_reads_back(value):
    text = dump_yaml(value)
    assert parse_yaml(text) == value


def test_mappings_keep_their_order_and_numbers_are_read_by_others():
    text = dump_yaml({"b": 1e-05, "a": [1, 2]})
    assert list(parse_yaml(text)) == ["b", "a"]
    assert yaml.safe_load(text) == {"b": 1e-05, "a": [1, 2]}


@pytest.mark.parametrize("value", [[math.inf], {"a": math.nan}, [1, (2, 3)], [{1: 2}], [{1}]])
def test_what_would_not_be_read_back_is_not_written(value):
    with pytest.raises(PlainYamlError):
        dump_yaml(value)

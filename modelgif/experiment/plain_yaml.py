"""Plain YAML: the part of YAML 1.2 that programs read as people do.

Besides lists and mappings with strings as keys there are ``null``, ``true`` and ``false``, whole
numbers, decimal numbers (also ``1e-3``, which PyYAML alone reads as a string) and strings (also
``no`` and ``on``). Tags, anchors, aliases and repeated keys are errors.
"""

import re
from typing import Any

import yaml

# The core schema (YAML 1.2.2, section 10.3.2) without octal, hexadecimal, infinity and NaN:
# the type, how it is spelt, and the characters that such a spelling can begin with.
_SCHEMA = [
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)",
        list("-+.0123456789"),
    ),
]
_REFUSED = {yaml.TagToken: "tag", yaml.AnchorToken: "anchor", yaml.AliasToken: "alias"}


# Far more than any configuration needs, and read in a second or two.
LARGEST_YAML = 2**17
_DEEPEST = 50
_BEGINNINGS = (
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
)
_ENDS = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)


class PlainYamlError(ValueError):
    """A string that is not plain YAML; the message names the line."""


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise PlainYamlError(f"line {line}: a key must be a string, got {key!r}.")
            if key in seen:
                raise PlainYamlError(f"line {line}: the key {key!r} appears twice.")
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes the strings that `_Loader` would read as something else."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # PyYAML writes these as they are, and reads them as the end of a line, or not at all.
        style = '"' if set(data) & set("\x85\u2028\u2029\ufeff") else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


for _class in (_Loader, _Dumper):
    _class.yaml_implicit_resolvers = {}
    for _type, _spelling, _first in _SCHEMA:
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_type}", re.compile(f"({_spelling})$"), _first
        )


def parse_yaml(text: str) -> Any:
    """Returns the value of the one plain YAML document in `text`, None for an empty one.

    Raises:
        PlainYamlError: for anything else.
    """
    if len(text) > LARGEST_YAML:
        raise PlainYamlError(f"at most {LARGEST_YAML:,} characters are read, got {len(text):,}.")
    try:
        depth = 0
        for token in yaml.scan(text, Loader=_Loader):
            depth += isinstance(token, _BEGINNINGS) - isinstance(token, _ENDS)
            if depth > _DEEPEST:
                raise PlainYamlError(
                    f"line {token.start_mark.line + 1}: nested too deeply, more than {_DEEPEST}."
                )
            if kind := _REFUSED.get(type(token)):
                raise PlainYamlError(
                    f"line {token.start_mark.line + 1}: a YAML {kind} is not allowed here; write "
                    "the plain value."
                )
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise PlainYamlError(f"{line}unreadable YAML: {error.problem}.") from error
    except yaml.YAMLError as error:
        raise PlainYamlError(f"unreadable YAML: {' '.join(str(error).split())}.") from error
    except PlainYamlError:
        raise
    except ValueError as error:
        # A number of more digits than Python converts.
        raise PlainYamlError(f"unreadable YAML: {error}.") from error


def dump_yaml(value: Any) -> str:
    """Returns the mapping or list `value` as plain YAML, which `parse_yaml` reads to an equal one.

    Mappings keep their order.

    Raises:
        PlainYamlError: for what plain YAML cannot express, such as infinity.
    """
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    if parse_yaml(text) != value:
        raise PlainYamlError("the values would not be read as they are; they must be plain data.")
    return text

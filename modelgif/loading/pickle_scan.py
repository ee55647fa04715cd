"""Pickles read as an outline: what they would call is checked before anything is called.

torch's reader of pickles with ``weights_only=True`` calls a few harmless functions, some of which
a file can turn into a bomb: ``bytearray(2**40)``, a string encoded until it fills the memory, a
tuple of tuples of tuples that takes years to hash. An outline has the pickle's shape and nothing of
its effects: names stay names, and what a call would give stays unknown.
"""

import pickletools
import re
from dataclasses import dataclass, field
from typing import IO, Any

import torch

from modelgif.loading.errors import PlainPickleError

# As many as the states of some 30,000 tensors take; torch's reader is as slow.
_MOST_OPCODES = 1_000_000
_REBUILT = {
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch._utils._rebuild_qtensor",
}
_CALLED = _REBUILT | {
    "builtins.complex",
    "torch.Size",
    "torch.device",
    "torch.serialization._get_layout",
}
_MAPPINGS = {"collections.OrderedDict", "collections.Counter"}
_CLASSES = {"torch.Tensor", "torch.nn.parameter.Parameter"}
_REST = {"builtins.set", "_codecs.encode", "torch._tensor._rebuild_from_type_v2"}
_STORAGE = re.compile(r"torch\.(storage\.)?\w*Storage")


@dataclass(frozen=True)
class _Name:
    text: str


@dataclass
class _Mapping:
    items: list[tuple[Any, Any]] = field(default_factory=list)


class _Unknown:
    """What a call would give."""


@dataclass
class Outline:
    """What a pickle would build.

    Attributes:
        value: numbers, strings, tuples and lists as they are; everything else is opaque.
        storages: how many numbers each storage is said to hold, by key.
    """

    value: Any = None
    storages: dict[Any, int] = field(default_factory=dict)


def outline(file: IO[bytes]) -> Outline:
    """Returns the outline of the next pickle in `file`, which ends behind it.

    Opcodes are those of torch.save; the calls those that rebuild tensors, ordered dictionaries,
    counters, sets and bytes. Keys must be strings or numbers.

    Raises:
        PlainPickleError: for anything else, which it names.
    """
    reader = _Reader()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if count == _MOST_OPCODES:
                raise PlainPickleError(f"it has more than {_MOST_OPCODES:,} opcodes")
            if opcode.name == "STOP":
                reader.found.value = reader.stack.pop()
            else:
                reader.step(opcode.name, argument)
    except PlainPickleError:
        raise
    except Exception as error:
        # A damaged pickle takes what is not there from the stack, the memo or the file.
        raise PlainPickleError(f"it is not a complete pickle ({type(error).__name__})") from error
    return reader.found


class _Reader:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.found = Outline()

    def step(self, opcode: str, argument: Any) -> None:
        match opcode:
            case "PROTO":
                pass
            case "MARK":
                self.marked.append(self.stack)
                self.stack = []
            case "GLOBAL":
                self.stack.append(_known(argument.replace(" ", ".")))
            case "NONE" | "NEWTRUE" | "NEWFALSE" | "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT":
                self.stack.append(_fresh(opcode))
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                self.stack.append(argument)
            case "BINUNICODE" | "SHORT_BINSTRING":
                self.stack.append(argument)
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "TUPLE":
                self.stack, items = self.marked.pop(), self.stack
                self.stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode[-1])
                self.stack[-count:] = [tuple(self.stack[-count:])]
            case "APPEND":
                item = self.stack.pop()
                _of(list, self.stack[-1]).append(item)
            case "APPENDS":
                self.stack, items = self.marked.pop(), self.stack
                _of(list, self.stack[-1]).extend(items)
            case "SETITEM":
                key, value = self.stack[-2:]
                del self.stack[-2:]
                _set(self.stack[-1], [key, value])
            case "SETITEMS":
                self.stack, items = self.marked.pop(), self.stack
                _set(self.stack[-1], items)
            case "BUILD":
                state = self.stack.pop()
                # The attributes of an ordered dictionary, such as the versions of a state dict.
                _of(_Mapping, state)
                _of(_Mapping, self.stack[-1])
            case "BINPERSID":
                self.stack.append(self._storage(self.stack.pop()))
            case "REDUCE":
                arguments = self.stack.pop()
                self.stack.append(_call(self.stack.pop(), arguments))
            case _:
                raise PlainPickleError(f"it uses {opcode}, which no state dict needs")

    def _storage(self, identity: Any) -> _Unknown:
        kind, name, key, _, count, *_ = _of(tuple, identity)
        if kind != "storage" or not isinstance(name, _Name) or not _STORAGE.fullmatch(name.text):
            raise PlainPickleError("it refers to something that is not a storage")
        _check_keys([key])
        self.found.storages[key] = max(_of(int, count), self.found.storages.get(key, 0))
        return _Unknown()


def _known(name: str) -> _Name:
    # What torch.save writes for Python 3's builtins.
    name = re.sub(r"^__builtin__\.", "builtins.", name)
    value = getattr(torch, name.removeprefix("torch."), None) if name.startswith("torch.") else None
    known = name in _CALLED | _MAPPINGS | _CLASSES | _REST or _STORAGE.fullmatch(name)
    if not known and not isinstance(value, torch.dtype | torch.qscheme):
        raise PlainPickleError(f"it asks for {name}")
    return _Name(name)


def _fresh(opcode: str) -> Any:
    made = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": _Mapping}
    return made[opcode]() if opcode in made else {"NEWTRUE": True, "NEWFALSE": False}.get(opcode)


def _call(function: Any, arguments: Any) -> Any:
    name, arguments = _of(_Name, function).text, _of(tuple, arguments)
    if name in _CALLED:
        return _Unknown()
    if name in _MAPPINGS and not arguments:
        return _Mapping()
    if name in _MAPPINGS and len(arguments) == 1:
        (content,) = arguments
        made = _Mapping()
        pairs = content if isinstance(content, list) else [list(p) for p in content.items]
        _set(made, [part for pair in pairs for part in _pair(pair)])
        return made
    if name == "builtins.set" and len(arguments) == 1:
        _check_keys(_of(list, arguments[0]))
        return _Unknown()
    if name == "_codecs.encode" and arguments[1:] == ("latin1",):
        _of(str, arguments[0])
        return _Unknown()
    if name == "torch._tensor._rebuild_from_type_v2" and len(arguments) == 4:
        rebuild, kind = (_of(_Name, part).text for part in arguments[:2])
        if rebuild in _REBUILT and kind in _CLASSES:
            return _Unknown()
    raise PlainPickleError(f"it calls {name} with arguments that no state dict needs")


def _pair(value: Any) -> list[Any]:
    pair = list(_of((list, tuple), value))
    if len(pair) != 2:
        raise PlainPickleError("it makes a mapping of what are not pairs")
    return pair


def _set(mapping: Any, items: list[Any]) -> None:
    _check_keys(items[::2])
    _of(_Mapping, mapping).items.extend(zip(items[::2], items[1::2], strict=True))


def _check_keys(keys: list[Any]) -> None:
    for key in keys:
        if not isinstance(key, str | int | float | None):
            raise PlainPickleError("it has keys other than strings and numbers")


def _of(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise PlainPickleError("it calls or fills what no state dict does")
    return value

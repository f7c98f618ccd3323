"""What makes two tool calls identical: arguments in, a hash of their canonical form out. Pure.

The canonical form is RFC 8785 (JCS): keys sorted by UTF-16 code unit, no white space, integral
floats as integers. The shim and the collector share it, so a repeat is a repeat for both.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

VOLATILE_KEYS: Final = frozenset({"_meta", "nonce", "request_id", "timestamp", "tool_call_id"})
"""Keys that differ from call to call without changing what is asked."""
_OF_THE_RUN: Final = frozenset({"inputs", "input_str", "tags", "metadata", "kwargs"})
_quoted: Final = json.encoder.encode_basestring
_NAMES: Final = {None: "null", True: "true", False: "false"}
_JSON_BEGINS: Final = frozenset('{["-0123456789tfnNI \t\n\r')
"""What JSON text, as Python reads it, can begin with."""


def arguments_hash(arguments: Any, volatile: AbstractSet[str] = frozenset()) -> str | None:
    """Return the SHA-256 of a tool call's canonical arguments; None where there are none.

    ``volatile`` names keys to leave out, besides `VOLATILE_KEYS`.

    >>> arguments_hash({"b": 1.0, "a": "x"}) == arguments_hash('{"a": "x", "b": 1}')
    True
    >>> arguments_hash({"inputs": {"q": 1}}) == arguments_hash({"q": 1, "request_id": "r-9"})
    True
    """
    if arguments is None:
        return None
    left_out = VOLATILE_KEYS | volatile if volatile else VOLATILE_KEYS
    return _digest(canonical(_without(_unwrapped(_parsed(arguments)), left_out)))


def result_hash(result: Any) -> str | None:
    """Return the SHA-256 of a tool's canonical result; None where there is none."""
    return None if result is None else _digest(canonical(_parsed(result)))


class ItemsHash:
    """The `result_hash` of a list whose items come one by one, and are not kept.

    >>> items = ItemsHash()
    >>> items.add("a"), items.add(1.0)
    (None, None)
    >>> items.hexdigest() == result_hash(["a", 1])
    True
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256(b"[")
        self.count = 0

    def add(self, item: Any) -> None:
        """Take the next item in."""
        text = f"{',' if self.count else ''}{canonical(item)}"
        self._digest.update(text.encode("utf-8", "surrogatepass"))
        self.count += 1

    def hexdigest(self) -> str:
        """Return the hash of the list so far."""
        digest = self._digest.copy()
        digest.update(b"]")
        return digest.hexdigest()


def canonical(value: Any) -> str:
    """Return the JCS text of a JSON-like value; other objects by their ``str``.

    >>> canonical({"é": [1.0, None, True], "a": "x"})
    '{"a":"x","é":[1,null,true]}'
    """
    if isinstance(value, str):
        return _quoted(value)
    if type(value) is dict:  # asked early, as what holds arguments is one
        return _object(value)
    if value is None or isinstance(value, bool):
        return _NAMES[value]
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return _object(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(canonical, value))}]"
    return _quoted(str(value))


def _number(value: float) -> str:
    if not math.isfinite(value):
        return _quoted(str(value))
    is_integral = value.is_integer() and abs(value) < 1e21
    return int.__repr__(int(value)) if is_integral else float.__repr__(value)


def _object(value: Mapping[Any, Any]) -> str:
    pairs = {str(key): item for key, item in value.items()}
    keys: Iterable[str] = pairs
    if len(pairs) > 1:
        is_plain = all(map(str.isascii, pairs))
        keys = sorted(pairs) if is_plain else sorted(pairs, key=_utf16)
    return f"{{{','.join([f'{_quoted(key)}:{canonical(pairs[key])}' for key in keys])}}}"


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _parsed(value: Any) -> Any:
    """Read JSON text, also where it is text of text; other text without its spare white space."""
    for _ in range(2):
        if not isinstance(value, str):
            return value
        if value[:1] not in _JSON_BEGINS:
            return " ".join(value.split())
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return " ".join(value.split())
    return value


def _unwrapped(value: Any) -> Any:
    """Take instrumentations' wrappers off: {"inputs": x}, with or without what LangChain's callback
    knows of the run (`_OF_THE_RUN`), and {"args": [], "kwargs": x}."""
    if type(value) is dict or isinstance(value, Mapping):
        if "inputs" in value and value["inputs"] is not None and _OF_THE_RUN.issuperset(value):
            return _parsed(value["inputs"])
        if len(value) == 2 and "args" in value and "kwargs" in value and not value["args"]:
            return _parsed(value["kwargs"])
    return value


def _without(value: Any, volatile: AbstractSet[str]) -> Any:
    if type(value) is dict and volatile.isdisjoint(value):
        return value
    if isinstance(value, Mapping):
        return {key: item for key, item in value.items() if key not in volatile}
    return value

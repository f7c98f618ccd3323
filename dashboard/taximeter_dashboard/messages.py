"""What a model was told and said, in any client's JSON, as pieces of plain text. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["text", "thought", "call", "result"]
_DEPTH: Final = 12
_DECODER: Final = json.JSONDecoder()
_BETWEEN: Final = re.compile(r"[\s,]*")
_INSIDE: Final = ("messages", "message", "choices", "parts", "kwargs", "generations", "candidates")
"""Where messages lie inside an object that is none itself, the outermost first."""
_ROLES: Final = {"human": "user", "ai": "assistant", "model": "assistant", "developer": "system",
                 "function": "tool"}  # fmt: skip
_CALLS: Final = frozenset(
    {"tool_call", "tool_use", "function_call", "server_tool_use", "tool-call"}
)
_RESULTS: Final = frozenset(
    {"tool_call_response", "tool_result", "function_call_output", "tool-result"}
)
_THOUGHTS: Final = frozenset({"reasoning", "thinking", "redacted_thinking"})


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing that was said, asked of a tool, or came back from it."""

    role: str
    kind: Kind
    text: str
    name: str = ""
    """Of the tool."""
    call_id: str = ""


def messages_in(text: str) -> list[Any]:
    """Return the messages of a JSON list, of one that was cut those before the cut; anything else is one.

    >>> messages_in('[1, 2]'), messages_in('[{"a": 1}, {"b'), messages_in('[cut'), messages_in("words")
    ([1, 2], [{'a': 1}], ['[cut'], ['words'])
    """
    try:
        value = json.loads(text)
    except RecursionError:
        return [text]
    except ValueError:
        return _before_cut(text) or [text]
    return value if isinstance(value, list) else [value]


def pieces_of(message: Any, role: str) -> list[Piece]:
    """Return the pieces of a message; what has no known shape is one piece as it is.

    >>> pieces_of({"role": "user", "content": "Hello"}, "user")[0].text
    'Hello'
    >>> pieces_of({"type": "tool_use", "name": "add", "input": {"a": 1}}, "assistant")[0].name
    'add'
    """
    return [piece for piece in _pieces(message, role, _DEPTH) if piece.text or piece.name]


def _before_cut(text: str) -> list[Any]:
    found: list[Any] = []
    at = 1 if text.startswith("[") else len(text)
    try:
        while at < len(text):
            between = _BETWEEN.match(text, at)
            value, at = _DECODER.raw_decode(text, between.end() if between else at)
            found.append(value)
    except (ValueError, RecursionError):
        pass
    return found


def compact(value: Any) -> str:
    """Return arguments or a result as text: a string as it is, anything else as JSON in one line.

    >>> compact('{"b": 2, "a": 1}') == compact({"a": 1, "b": 2})
    True
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return str(value)
        if isinstance(value, str):
            return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)


def result_text(value: Any) -> str:
    """Return what a tool gave back; a list of texts is these texts."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return str(value)
    if isinstance(value, Mapping) and value.get("type") == "text":
        value = [value]
    if isinstance(value, list) and value and all(_text_of(part) is not None for part in value):
        return "\n".join(_text_of(part) or "" for part in value)
    return compact(value)


def _pieces(value: Any, role: str, depth: int) -> Iterator[Piece]:
    if isinstance(value, str):
        yield Piece(role, "text", value)
    elif isinstance(value, list) and depth:
        for part in value:
            yield from _pieces(part, role, depth - 1)
    elif isinstance(value, Mapping) and depth:
        yield from _object(value, role, depth - 1)
    elif value is not None:
        yield Piece(role, "text", compact(value))


def _object(value: Mapping[str, Any], role: str, depth: int) -> Iterator[Piece]:
    type_ = str(value.get("type") or "")
    said_role = value.get("role") or (type_ if type_ in _ROLES else None)
    role = _ROLES.get(str(said_role), str(said_role)) if said_role else role
    if role == "tool" and ("content" in value or "tool_call_id" in value):
        yield _result(value, value.get("content"))
    elif type_ in _CALLS or "functionCall" in value or "toolUse" in value:
        yield _call(value, role)
    elif type_ in _RESULTS or "functionResponse" in value or "toolResult" in value:
        yield _result(value, _first(value, "result", "response", "content", "output"))
    elif type_ in _THOUGHTS:
        thought = _first(value, "content", "text", "thinking", "summary")
        yield Piece(role, "thought", result_text(thought) if thought else "")
    else:
        yield from _spoken(value, role, type_, depth)


def _spoken(value: Mapping[str, Any], role: str, type_: str, depth: int) -> Iterator[Piece]:
    inside = next(
        (value[name] for name in _INSIDE if isinstance(value.get(name), list | Mapping)), None
    )
    text = _text_of(value)
    content = value.get("content")
    if inside is not None:
        yield from _pieces(inside, role, depth)
    elif text is not None:
        yield Piece(role, "text", text)
    elif isinstance(content, list | Mapping):
        yield from _pieces(content, role, depth)
    elif type_ and type_ not in ("message", "constructor"):
        yield Piece(role, "text", f"[{type_}]")  # an image or a file: not text, and often large
    elif not any(name in value for name in ("content", "tool_calls", "role")):
        yield Piece(role, "text", compact(value))
    calls = value.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        if isinstance(call, Mapping):
            yield _call(call, role)


def _call(value: Mapping[str, Any], role: str) -> Piece:
    inner = _first(value, "function", "functionCall", "toolUse")
    told = inner if isinstance(inner, Mapping) else value
    arguments = _first(told, "arguments", "input", "args", "parameters")
    id_ = _first(value, "id", "call_id") or _first(told, "toolUseId")
    return Piece(role, "call", compact(arguments), str(told.get("name") or ""), str(id_ or ""))


def _result(value: Mapping[str, Any], content: Any) -> Piece:
    inner = _first(value, "functionResponse", "toolResult")
    if isinstance(inner, Mapping):
        value, content = inner, _first(inner, "response", "content")
    id_ = _first(value, "tool_call_id", "tool_use_id", "call_id", "toolUseId", "id")
    return Piece(
        "tool", "result", result_text(content), str(value.get("name") or ""), str(id_ or "")
    )


def _text_of(part: Any) -> str | None:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        return None
    found = _first(part, "text", "content")
    return found if isinstance(found, str) else None


def _first(value: Mapping[str, Any], *names: str) -> Any:
    return next((value[name] for name in names if value.get(name) is not None), None)

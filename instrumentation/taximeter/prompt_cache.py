"""Cache breakpoints on an Anthropic prompt's tools and system, and a word when its prefix changes."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, Final, Literal, TypeVar

from opentelemetry import trace

from taximeter import semconv
from taximeter.fingerprint import canonical
from taximeter.guard import guarded, logger
from taximeter.span_attributes import stamped

T = TypeVar("T")
Ttl = Literal["5m", "1h"]
MAX_BREAKPOINTS: Final = 4
BYTES_PER_TOKEN: Final = 4
MINIMUM_TOKENS: Final[Mapping[str, int]] = {
    "claude-haiku-4-5": 4_096,
    "claude-opus-4-5": 4_096,
    "claude-opus-4-6": 4_096,
    "claude-opus-4-7": 2_048,
    "claude-opus-5": 512,
    "claude-fable-5": 512,
    "claude-mythos-5": 512,
}
"""Shortest prefix that is cached, by a part of the model's name (providers' documentation, 2026-10)."""
DEFAULT_MINIMUM: Final = 1_024


def minimum_tokens(model: str) -> int:
    """Return the tokens that a prefix must have to be cached.

    >>> minimum_tokens("claude-haiku-4-5-20251001"), minimum_tokens("claude-sonnet-5-5")
    (4096, 1024)
    """
    fits = [name for name in MINIMUM_TOKENS if name in model]
    return MINIMUM_TOKENS[max(fits, key=len)] if fits else DEFAULT_MINIMUM


class PromptCache:
    """The cached prefix of one prompt: one of these for each of an agent's prompts.

    ``cache.call(client.messages.create, model=…, system=…, tools=…, messages=…, max_tokens=…)``
    """

    def __init__(self, name: str = "prompt", *, ttl: Ttl = "5m", diagnostics: bool = False) -> None:
        """``diagnostics`` asks the provider why it missed, where the SDK can: it compares requests."""
        if ttl not in ("5m", "1h"):
            raise ValueError(f"PromptCache(ttl={ttl!r}): use '5m' or '1h'")
        self.name = name
        self._ttl, self._diagnoses = ttl, diagnostics
        self._lock = Lock()
        self._parts: dict[str, str] = {}
        self._warned: set[str] = set()
        self._previous_id: str | None = None

    def call(self, create: Callable[..., T], /, **body: Any) -> T:
        """Return ``create(**body)`` with breakpoints placed; what changed is logged and on its span."""
        body, attributes = self._prepare(create, body)
        with stamped(attributes):
            answer = create(**body)
        self._read(answer)
        return answer

    async def call_async(self, create: Callable[..., Awaitable[T]], /, **body: Any) -> T:
        """Return ``await create(**body)``; else as `call`."""
        body, attributes = self._prepare(create, body)
        with stamped(attributes):
            answer = await create(**body)
        self._read(answer)
        return answer

    def place(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy of a request with breakpoints after its tools and its system prompt.

        Where the caller has placed some there, and above four, none is added; nor where the prefix
        has less than half the model's minimum, by `BYTES_PER_TOKEN`.
        """
        placed = dict(body)
        tools, system = list(body.get("tools") or ()), _blocks(body.get("system"))
        in_tools, in_system = _ttls(tools), _ttls(system)
        in_messages = [ttl for m in body.get("messages") or () for ttl in _ttls(_content(m))]
        room = MAX_BREAKPOINTS - len(in_tools) - len(in_system) - len(in_messages)
        if body.get("cache_control"):
            room -= 1
        least = minimum_tokens(str(body.get("model", ""))) * BYTES_PER_TOKEN // 2
        # A breakpoint of an hour may not follow one of five minutes.
        last = _last(system, lambda block: bool(block.get("text")) or block.get("type") != "text")
        if last is not None and not in_system and room > 0 and _size([*tools, *system]) >= least:
            ttl = "1h" if "1h" in in_messages else "5m" if "5m" in in_tools else self._ttl
            system[last] = _marked(system[last], ttl)
            placed["system"] = system
            in_system, room = [ttl], room - 1
        last = _last(tools, lambda tool: not tool.get("defer_loading"))
        if last is not None and not in_tools and room > 0 and _size(tools) >= least:
            tools[last] = _marked(
                tools[last], max([self._ttl, *in_system, *in_messages], key=_TTLS.index)
            )
            placed["tools"] = tools
        return placed

    def changes(self, body: Mapping[str, Any]) -> list[str]:
        """Return which parts of the prefix differ from the last request, and remember this one."""
        parts = dict(_parts(body))
        with self._lock:
            before, self._parts = self._parts, parts
        if not before:
            return []
        changed = [name for name in parts if parts[name] != before.get(name)]
        changed += [f"{name} (gone)" for name in before if name not in parts]
        if not changed and list(before) != list(parts):
            changed = ["tools (order)"]
        return changed

    def _prepare(
        self, create: Callable[..., Any], body: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        changed = self._note(body)
        placed = self._place(body) or body
        if self._diagnoses and "diagnostics" not in body and _takes_diagnostics(create):
            placed["diagnostics"] = {"previous_message_id": self._previous_id}
        return placed, {semconv.PREFIX_CHANGED: changed} if changed else {}

    @guarded(default=None)
    def _place(self, body: dict[str, Any]) -> dict[str, Any]:
        return self.place(body)

    @guarded(default=[])
    def _note(self, body: dict[str, Any]) -> list[str]:
        changed = self.changes(body)
        self._warn(f"changed between two calls: {', '.join(changed)}", changed)
        return changed

    @guarded(default=None)
    def _read(self, answer: Any) -> None:
        """Keep the answer's id for the next diagnosis; say the provider's of this one."""
        if not self._diagnoses:
            return
        self._previous_id = getattr(answer, "id", None) or self._previous_id
        reason = getattr(getattr(answer, "diagnostics", None), "cache_miss_reason", None)
        kind = getattr(reason, "type", None)
        if isinstance(kind, str):
            trace.get_current_span().set_attribute(semconv.CACHE_MISS, kind)
            self._warn(f"was not reused, says the provider: {kind}", [f"provider {kind}"])

    def _warn(self, what: str, names: Sequence[str]) -> None:
        """Say each name once: a prefix that changes does so with every call."""
        with self._lock:
            new = set(names) - self._warned
            self._warned |= new
        if new:
            logger.warning("the cached prefix of %s %s", self.name, what)


_TTLS: Final = ("5m", "1h")


def _parts(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the prefix's parts in the order of the cache, with their hashes."""
    yield "model", _hash(body.get("model"))
    for place, tool in enumerate(body.get("tools") or ()):
        yield f"tool {tool.get('name', place)}", _hash(_unmarked(tool))
    for place, block in enumerate(_blocks(body.get("system")), start=1):
        yield f"system block {place}", _hash(_unmarked(block))
    for name in ("tool_choice", "thinking"):
        yield name, _hash(body.get(name))


def _hash(value: Any) -> str:
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()


def _blocks(system: Any) -> list[dict[str, Any]]:
    if isinstance(system, str):
        return [{"type": "text", "text": system}] if system else []
    return [dict(block) for block in system] if isinstance(system, list | tuple) else []


def _content(message: Any) -> list[Any]:
    content = message.get("content") if isinstance(message, Mapping) else None
    return list(content) if isinstance(content, list | tuple) else []


def _ttls(blocks: Sequence[Any]) -> list[Ttl]:
    controls = [block.get("cache_control") for block in blocks if isinstance(block, Mapping)]
    return [control.get("ttl") or "5m" for control in controls if isinstance(control, Mapping)]


def _last(blocks: Sequence[Any], fits: Callable[[Any], bool]) -> int | None:
    return next((place for place in reversed(range(len(blocks))) if fits(blocks[place])), None)


def _marked(block: Mapping[str, Any], ttl: Ttl) -> dict[str, Any]:
    control = {"type": "ephemeral"} if ttl == "5m" else {"type": "ephemeral", "ttl": ttl}
    return {**block, "cache_control": control}


def _unmarked(block: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in block.items() if key != "cache_control"}


def _size(blocks: Sequence[Any]) -> int:
    return sum(len(json.dumps(block, default=str, ensure_ascii=False).encode()) for block in blocks)


def _takes_diagnostics(create: Callable[..., Any]) -> bool:
    """Return whether the installed SDK's method has the parameter."""
    try:
        return "diagnostics" in inspect.signature(create).parameters
    except (TypeError, ValueError):
        return False

"""What the fake model says to one call: text, tool calls, tokens, pace and faults.

A reply travels to the fake API in the request header `x-demo-reply`, as compact JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

REPLY_HEADER: Final = "x-demo-reply"
TOOK_HEADER: Final = "x-demo-took-ms"
FIRST_HEADER: Final = "x-demo-first-token-ms"

STALL: Final = 0
"""A fault's status that means: never answer, so that the caller's time-out ends the attempt."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """One answer's tokens, disjoint except `reasoning`, which is part of `output`."""

    uncached_input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0
    reasoning: int = 0
    web_searches: int = 0

    @property
    def prompt(self) -> int:
        """Return the whole prompt, cached tokens included.

        >>> Tokens(uncached_input=10, cache_read=90).prompt
        100
        """
        return self.uncached_input + self.cache_read + self.cache_write_5m + self.cache_write_1h


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model asks for."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fault:
    """How one attempt of a call fails before the reply is given."""

    status: int
    """HTTP status (429, 500, 503, 529 …), or `STALL`."""
    retry_after_s: float = 0.0
    """What the retry headers ask the caller to wait; 0 sends none."""
    after_s: float = 0.1
    """How long the provider took to say so; for `STALL`, the caller's time-out."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One logical answer. A field left at None is made up from the request."""

    text: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tokens: Tokens | None = None
    stop: str | None = None
    """A stop reason in Anthropic's words (`end_turn`, `max_tokens`, `refusal` …)."""
    tier: str | None = None
    """The provider's own word for the service tier it used."""
    latency_s: float | None = None
    first_token_s: float | None = None
    faults: tuple[Fault, ...] = ()
    """Failures of attempt 0, 1, …; the attempt after the last one succeeds."""

    def to_header(self) -> str:
        """Return the reply as a header value (ASCII, without what is unset).

        >>> Reply(text="hi").to_header()
        '{"text":"hi"}'
        """
        fields = {name: value for name, value in asdict(self).items() if value not in (None, ())}
        return json.dumps(fields, separators=(",", ":"))


def reply_from_header(value: str) -> Reply:
    """Return the reply that `to_header` wrote. Raises ValueError on anything else.

    >>> reply_from_header('{"text":"hi","faults":[{"status":529}]}').faults[0].status
    529
    """
    try:
        fields = json.loads(value)
        tokens = fields.pop("tokens", None)
        calls = fields.pop("tool_calls", ())
        faults = fields.pop("faults", ())
        return Reply(
            **fields,
            tokens=None if tokens is None else Tokens(**tokens),
            tool_calls=tuple(ToolCall(**call) for call in calls),
            faults=tuple(Fault(**fault) for fault in faults),
        )
    except (TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"header {REPLY_HEADER} is not a reply: {error}") from None

"""What each column of each rule table may hold: the check of users' rows, and of the shipped ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Cell:
    """One column: what is allowed, for people and by check, and what stands there if left out."""

    must_be: str
    read: Callable[[str], str]
    """Returns the text to store. Raises ValueError for what is not allowed."""
    default: str | None = None
    required: bool = True
    allowed: tuple[str, ...] = ()
    """The whole choice, where it is closed."""

    def optional(self, default: str | None = None) -> Cell:
        """Return the same column as one that may be left out."""
        return replace(self, required=False, default=default)


def _by(expression: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(expression, text):
            raise ValueError(text)
        return text

    return read


def _pattern(text: str) -> str:
    if re.fullmatch(r"(\[\]?[^\]]*\]|[^\[])+", text) is None:
        raise ValueError(text)
    return text


def _choice(*allowed: str) -> Cell:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(text)
        return text

    return Cell(f"one of {', '.join(allowed)}", read, allowed=allowed)


TEXT: Final = Cell("text", _by(r"(?s).+"))
NAME: Final = Cell('a name such as "acme_agents"', _by(r"[a-z][a-z0-9_]*"))
DIALECT: Final = Cell("a dialect that a row of detect names, or *", _by(r"\*|[a-z][a-z0-9_]*"))
PATTERN: Final = Cell("a pattern: * any part, ? one character, [ab] one of these", _pattern)
LOWER: Final = Cell(PATTERN.must_be, lambda text: _pattern(text).lower())
"""Met by what is compared in lower case."""
PATH: Final = Cell('a path inside the JSON such as "$.usage.input"', _by(r"\$[^*]*"))
NUMBER: Final = Cell("a whole number", _by(r"\d{1,9}"))
VERSION: Final = Cell('a version such as "1.45"', _by(r"\d+(\.\d+)*"))
FLAG: Final = _choice("true", "false")
ANY: Final = PATTERN.optional("*")
ANY_LOWER: Final = LOWER.optional("*")
KIND: Final = _choice("llm", "embedding", "tool", "agent", "workflow", "chain", "retriever",
                      "reranker", "guardrail", "memory", "step", "other")  # fmt: skip
ERROR_CLASS: Final = _choice("throttled", "provider", "client", "timeout", "tool", "internal")

TABLES: Final[dict[str, dict[str, Cell]]] = {
    "detect": {
        "dialect": NAME,
        "place": _choice("scope", "resource", "attribute"),
        "pattern": PATTERN,
    },
    "kinds": {"dialect": DIALECT.optional("*"), "key": TEXT, "value": TEXT, "kind": KIND},
    "attributes": {
        "column": TEXT,
        "dialect": DIALECT.optional("*"),
        "key": TEXT,
        "path": PATH.optional(),
    },
    "exclusive": {
        "leaf": _choice("cache", "reasoning"),
        "scope": ANY,
        "version_up_to": VERSION.optional(),
        "provider": ANY_LOWER,
        "basis": _choice("exclusive", "inclusive").optional("exclusive"),
    },
    "absent_is_zero": {
        "column": _choice("*", "cache_read", "cache_write", "resend_count"),
        "scope": ANY,
        "provider": ANY_LOWER,
        "model": ANY_LOWER,
    },
    "two_lifetimes": {"provider": ANY_LOWER, "model": ANY_LOWER},
    "distrusted": {
        "scope": ANY,
        "version_up_to": VERSION.optional(),
        "column": TEXT,
        "value": ANY,
    },
    "errors": {"pattern": LOWER, "error_class": ERROR_CLASS},
    "messages": {
        "pattern": LOWER,
        "error_class": ERROR_CLASS.optional(),
        "finish_reason": TEXT.optional(),
    },
    "preference": {"dialect": NAME, "preference": NUMBER},
    "finish_reasons": {
        "pattern": LOWER,
        "finish_class": _choice("answer", "tool", "paused", "truncated", "refused", "guardrail",
                                "cancelled", "error"),
    },
    "terminations": {
        "pattern": LOWER,
        "reason": _choice("completed", "iteration_cap", "tool_call_cap", "token_budget",
                          "cost_budget", "deadline", "low_confidence", "thrashing",
                          "error_cascade", "circuit_open", "guardrail", "handoff", "cancelled",
                          "truncated", "refused", "error", "unknown"),
    },
    "span_marks": {
        "dialect": DIALECT,
        "key": TEXT,
        "pattern": PATTERN,
        "mark": _choice("side", "own_loop", "tool_part", "denied", "not_executed", "answered",
                        "hit_limit", "one_call"),
    },
    "tools": {
        "scope": ANY,
        "tool": PATTERN,
        "role": _choice("answering", "handoff", "delegation", "any_tool", "polling", "mutating"),
    },
    "input_keys": {"pattern": PATTERN},
    "content_keys": {"pattern": PATTERN},
    "output_limits": {
        "key": TEXT,
        "path": TEXT.optional(),
        "says": _choice("at_least", "at_most", "choices"),
    },
    "thrash_levels": {
        "measure": _choice("consecutive_run", "repeats", "cycle_repeats"),
        "at_least": NUMBER,
        "level": _choice("page", "warn"),
    },
    "events": {
        "scope": ANY,
        "event": PATTERN,
        "needs": TEXT.optional(),
        "value": TEXT.optional(),
        "kind": KIND.optional(),
        "name": TEXT.optional(),
        "status": _choice("error").optional(),
        "request": TEXT.optional(),
        "in_trace": FLAG.optional(),
        "starts": TEXT.optional(),
        "ends": TEXT.optional(),
        "duration": TEXT.optional(),
        "side": TEXT.optional(),
        "side_value": PATTERN.optional(),
    },
    "signals": {"dialect": NAME, "signal": _choice("span", "log"), "rank": NUMBER},
    "metrics": {
        "scope": ANY,
        "metric": TEXT,
        "type_key": TEXT.optional(),
        "type_value": TEXT.optional(),
        "attribute": TEXT.optional(),
    },
    "nested": {"scope": PATTERN, "dialect": NAME, "inner": NAME},
}  # fmt: skip
"""By table, its columns in the order of the shipped file."""

REPLACES: Final = {
    "preference": ("dialect",),
    "signals": ("dialect", "signal"),
    "thrash_levels": ("measure",),
}
"""Tables of one answer each: a user's row takes the place of the shipped ones of its key."""
TOGETHER: Final[dict[str, dict[str, str]]] = {
    "events": {"value": "needs", "side": "side_value", "side_value": "side"},
    "metrics": {"type_value": "type_key", "type_key": "type_value"},
}
"""Columns that say nothing without another."""

"""What a guardrail says of a value: allow, block, or rewrite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

Action = Literal["allow", "block", "rewrite"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict and why; with ``rewrite`` the value that takes the other's place."""

    action: Action
    reason: str = ""
    """Recorded on the span: say what kind of thing was found, without quoting it."""
    value: Any = None


def allow(reason: str = "") -> Verdict:
    """Let the value pass."""
    return Verdict("allow", reason)


def block(reason: str) -> Verdict:
    """Refuse the value."""
    return Verdict("block", reason)


def rewrite(value: Any, reason: str = "") -> Verdict:
    """Let another value pass in its place."""
    return Verdict("rewrite", reason, value)


def verdict_of(said: Any) -> Verdict:
    """Read what a check returned: a Verdict, True or None to allow, False to block.

    >>> verdict_of(False)
    Verdict(action='block', reason='', value=None)
    """
    if isinstance(said, Verdict):
        if said.action not in get_args(Action):
            raise ValueError(f"Verdict(action={said.action!r}): use one of {get_args(Action)}")
        return said
    if said is None or said is True:
        return allow()
    if said is False:
        return Verdict("block")
    raise TypeError(
        f"a guardrail's check returned {type(said).__name__}: return allow(), block(…), rewrite(…),"
        " True or False"
    )

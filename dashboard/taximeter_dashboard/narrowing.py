"""The list of requests narrowed by exact names: URL parameters in, a condition or words out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from taximeter_dashboard.queries import Among, What

WHAT_WORDS: Final[dict[What, str]] = {"request": "Request", "call": "Model call", "tool": "Tool"}
_PARAMETERS: Final = {
    "class": "error_class",
    "type": "error_type",
    "tool": "tool",
    "model": "model",
    "agent": "by_agent",
}
"""Dimension of a failure -> URL parameter; `agent` is the scope's own filter."""


def among_of(parameters: Mapping[str, str]) -> Among:
    """Return what the address narrows the list to.

    >>> among_of({"failed": "tool", "error_class": "timeout"}).names
    (('class', 'timeout'),)
    """
    what = next((what for what in WHAT_WORDS if what == parameters.get("failed")), None)
    names = tuple((d, parameters[p]) for d, p in _PARAMETERS.items() if parameters.get(p))
    tool = parameters.get("tool", "")
    return Among(parameters.get("session", ""), tool, what, names if what else ())


def failure_parameters(what: What, dimension: str, name: str) -> dict[str, str]:
    """Return the URL parameters of the requests with this failure.

    >>> failure_parameters("call", "class", "throttled")
    {'failed': 'call', 'error_class': 'throttled'}
    """
    return {"failed": what, _PARAMETERS[dimension]: name}


def among_text(among: Among) -> str:
    """Return in words which requests are left.

    >>> among_text(Among(failed="call", names=(("class", "throttled"),)))
    'Only requests with a failed model call: class throttled'
    """
    said: list[str] = []
    if among.session:
        said.append(f"of session {among.session}")
    if among.failed == "request":
        said.append("that failed" + _said(among))
    elif among.failed:
        noun = WHAT_WORDS[among.failed].lower()
        said.append(f"with a failed {noun}{_said(among)}")
    elif among.tool:
        said.append(f"that used the tool {among.tool}")
    return f"Only requests {', '.join(said)}"


def _said(among: Among) -> str:
    named = ", ".join(f"{dimension} {name}" for dimension, name in among.names)
    return f": {named}" if named else ""

"""MCP's Python SDK: a tool call of a client is a tool span, counts as one, and passes the context on.

From version 2 the SDK makes spans of its messages and passes the context on itself: they lie below ours.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode

from taximeter import lifecycle, semconv
from taximeter.clients.fields import field
from taximeter.guard import guarded
from taximeter.runs.deadlines import raise_if_overdue, until_deadline
from taximeter.runs.limits import LimitReached
from taximeter.runs.model_calls import plain
from taximeter.spans import current_span
from taximeter.tools.limits import admit_tool_call, has_failed
from taximeter.tools.spans import read_arguments, record_error, record_result, start_attempt

_MARK: Final = "_taximeter_wrapped"


@guarded(default=None)
def install() -> None:
    """Wrap the SDK if it is there; once."""
    try:
        session: Any = import_module("mcp.client.session").ClientSession
    except ImportError:
        return
    if not getattr(session.call_tool, _MARK, False):
        is_native = find_spec("mcp.shared._otel") is not None
        setattr(session, "call_tool", wrap_call_tool(session.call_tool, is_native=is_native))


def wrap_call_tool(call_tool: Callable[..., Any], *, is_native: bool) -> Callable[..., Any]:
    """Wrap a session's way to call a tool; one that is not native must be told the context."""
    needs_context = not is_native and "meta" in inspect.signature(call_tool).parameters

    @functools.wraps(call_tool)
    async def wrapped(
        self: Any, name: str, arguments: dict[str, Any] | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        if not lifecycle.is_active() or _is_in_a_tool():
            return await call_tool(self, name, arguments, *args, **kwargs)
        call = _Call(name, arguments)
        with call:
            if needs_context:
                kwargs = _with_context(kwargs) or kwargs
            answer = await until_deadline(call_tool(self, name, arguments, *args, **kwargs))
            call.take(answer)
        return answer

    setattr(wrapped, _MARK, True)
    return wrapped


class _Call:
    """One tool call and its span. Raises LimitReached where the run allows no more."""

    def __init__(self, name: str, arguments: dict[str, Any] | None) -> None:
        given, fingerprint = read_arguments(lambda _args, found: dict(found), (), arguments or {})
        self._admission = admit_tool_call(name, fingerprint)
        self._span = start_attempt(name, fingerprint, given, 1)
        self._inside = current_span(self._span)
        self._is_error = False

    def __enter__(self) -> None:
        self._inside.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._inside.__exit__(kind, error, traceback)
        if error is not None:
            record_error(self._span, error)
        self._span.end()
        failed = self._is_error if error is None else has_failed(error)
        try:
            if error is not None:
                raise_if_overdue(error)
        except LimitReached:
            failed = None  # the run's deadline is no failure of the tool, as in `taximeter.tool`
            raise
        finally:
            if self._admission is not None:
                self._admission.end(failed)

    def take(self, answer: Any) -> None:
        """Record what the server answered; an error is an answer too."""
        self._is_error = _record(self._span, answer)


@guarded(default=False)
def _record(span: Span, answer: Any) -> bool:
    """Say what the tool answered; return whether it failed."""
    content = [plain(part) for part in field(answer, "content") or ()]
    if not (field(answer, "is_error") or field(answer, "isError")):
        record_result(span, content)
        return False
    said = next((part["text"] for part in content if part.get("type") == "text"), "")
    span.set_attribute(semconv.ERROR_TYPE, "tool_error")
    span.set_status(Status(StatusCode.ERROR, said[:1_000]))
    return True


@guarded(default=False)
def _is_in_a_tool() -> bool:
    """Return whether the call is how a tool of the program's own does its work."""
    attributes: Mapping[str, Any] = getattr(trace.get_current_span(), "attributes", None) or {}
    return attributes.get(semconv.OPERATION) == semconv.EXECUTE_TOOL


@guarded(default=None)
def _with_context(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return a call's settings with the current span in its ``_meta``, as SEP-414 says."""
    from opentelemetry import propagate  # reads every installed package's entry points

    meta = dict(kwargs.get("meta") or {})
    propagate.inject(meta)
    return {**kwargs, "meta": meta}

"""The span of a tool's attempt: what it was called with, what came of it, why it did not run."""

from __future__ import annotations

import json
from typing import Any

from opentelemetry.trace import Span, Status, StatusCode

from taximeter import lifecycle, semconv
from taximeter.content import DEFAULT_MAX_CHARACTERS, cut
from taximeter.fingerprint import arguments_hash, canonical, result_hash
from taximeter.guard import guarded
from taximeter.span_attributes import put
from taximeter.spans import start_span
from taximeter.tools.call_arguments import Reader


@guarded(default=(None, None))
def read_arguments(
    reader: Reader, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[dict[str, Any] | None, str | None]:
    """Return a call's arguments by name, and the hash that tells a repeated call."""
    arguments = reader(args, kwargs)
    return arguments, arguments_hash(arguments)


def start_attempt(
    name: str, fingerprint: str | None, arguments: dict[str, Any] | None, attempt: int
) -> Span:
    """Start the span of one attempt."""
    attributes: dict[str, Any] = {
        semconv.OPERATION: semconv.EXECUTE_TOOL,
        semconv.TOOL_NAME: name,
        semconv.ATTEMPT: attempt,
    }
    if fingerprint is not None:
        attributes[semconv.ARGUMENTS_HASH] = fingerprint
    if lifecycle.captures_content() and (said := _said(arguments)) is not None:
        attributes[semconv.TOOL_ARGUMENTS] = said
    return start_span(f"{semconv.EXECUTE_TOOL} {name}", attributes)


@guarded(default=None)
def _said(arguments: dict[str, Any] | None) -> str | None:
    return None if arguments is None else cut(canonical(arguments), DEFAULT_MAX_CHARACTERS)


@guarded(default=None)
def record_result(span: Span, result: Any) -> None:
    """Say what the tool answered."""
    fingerprint = result_hash(result)
    if fingerprint is not None:
        put(span, {semconv.RESULT_HASH: fingerprint})
    if lifecycle.captures_content():
        text = result if isinstance(result, str) else json.dumps(result, default=str)
        put(span, {semconv.TOOL_RESULT: cut(text, DEFAULT_MAX_CHARACTERS)})


@guarded(default=None)
def record_error(span: Span, error: BaseException) -> None:
    """Say how the attempt failed."""
    span.set_attribute(semconv.ERROR_TYPE, type(error).__qualname__)
    span.set_status(Status(StatusCode.ERROR, str(error)[:1_000]))


@guarded(default=None)
def record_denial(span: Span, reason: str) -> None:
    """Say that the tool did not run; that is no error."""
    span.set_attribute(semconv.TOOL_DENIED, True)
    span.set_attribute(semconv.ERROR_TYPE, reason)

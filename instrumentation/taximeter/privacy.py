"""What leaves the process: redacted, with hashed user ids and texts of a bounded length.

In: ended spans, in the export thread. Out: copies of those that had something to hide.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status

from taximeter import semconv
from taximeter.content import DEFAULT_MAX_CHARACTERS, cut
from taximeter.export.queue import Sender, Sent
from taximeter.guard import faults
from taximeter.redaction import Redactor

Redact = Callable[[str, str], str | None]
"""Takes an attribute's key and text; returns what may leave, None to leave the attribute out."""
HASH_LENGTH: Final = 32
MIN_KEY: Final = 16
_USERS: Final = (semconv.USER_ID, "enduser.id", "langfuse.user.id")
_FACTS: Final = frozenset(
    {
        semconv.USAGE, semconv.USAGE_SHAPE, semconv.ARGUMENTS_HASH, semconv.RESULT_HASH,
        semconv.SESSION_ID, semconv.CONVERSATION_ID, semconv.RESPONSE_ID, semconv.TOOL_CALL_ID,
        semconv.REQUEST_MODEL, semconv.RESPONSE_MODEL, semconv.PROVIDER, semconv.OPERATION,
        semconv.AGENT_NAME, semconv.TOOL_NAME, semconv.TENANT, semconv.ERROR_TYPE,
        semconv.FINISH_REASONS, semconv.SERVER_ADDRESS, *_USERS,
    }
)  # fmt: skip
"""Left as they are: what calls are counted, priced and told apart by."""


@dataclass(frozen=True)
class Privacy:
    """What is done to spans before they are sent: ``taximeter.init(privacy=Privacy(…))``.

    Raises ValueError for an unknown set, a broken pattern or a key that is too short.
    """

    sets: Sequence[str] = ()
    """Shipped patterns to mask: ``secrets``, ``pii``."""
    patterns: Sequence[str] = ()
    """Regular expressions of your own to mask."""
    redact: Redact | None = None
    """Called with the key and the text of every attribute that is no fact, after the patterns."""
    user_key: str | None = field(default=None, repr=False)
    """Hashes user ids: a secret of 16 characters or more, the same in all programs."""
    max_characters: int = DEFAULT_MAX_CHARACTERS
    """Longer texts are cut, and say so."""
    _redactor: Redactor | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if self.user_key is not None and len(self.user_key) < MIN_KEY:
            raise ValueError(f"Privacy: user_key must have {MIN_KEY} characters or more")
        if self.max_characters < 1:
            raise ValueError("Privacy: max_characters must be 1 or more")
        redactor = Redactor(self.sets, self.patterns) if self.sets or self.patterns else None
        object.__setattr__(self, "_redactor", redactor)

    def clean(self, span: ReadableSpan) -> ReadableSpan:
        """Return the span as it may leave; itself where nothing changes."""
        attributes = self._attributes(span.attributes)
        events = [
            Event(event.name, self._attributes(event.attributes), timestamp=event.timestamp)
            for event in span.events
        ]
        status = self._status(span.status)
        kept = [dict(event.attributes or {}) for event in span.events]
        is_same = (
            attributes == dict(span.attributes or {})
            and [event.attributes for event in events] == kept
            and status is span.status
        )
        if is_same:
            return span
        return ReadableSpan(
            name=span.name, context=span.context, parent=span.parent, resource=span.resource,
            attributes=attributes, events=events, links=span.links, kind=span.kind, status=status,
            start_time=span.start_time, end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )  # fmt: skip

    def _attributes(self, attributes: Mapping[str, Any] | None) -> dict[str, Any]:
        found = {key: self._value(key, value) for key, value in (attributes or {}).items()}
        return {key: value for key, value in found.items() if value is not None}

    def _value(self, key: str, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(key, value)
        if isinstance(value, Sequence) and value and isinstance(value[0], str):
            texts = [self._text(key, item) for item in value]
            return tuple(text for text in texts if text is not None)
        return value

    def _text(self, key: str, text: str) -> str | None:
        if key in _USERS and self.user_key is not None:
            return hashed(text, self.user_key.encode())
        if key in _FACTS:
            return text
        if self._redactor is not None:
            text = self._redactor.clean(text)
        if self.redact is not None:
            kept = self.redact(key, text)
            if kept is None:
                return None
            text = kept
        return cut(text, self.max_characters)

    def _status(self, status: Status) -> Status:
        said = status.description
        text = None if said is None else self._text("status", said)
        return status if text == said else Status(status.status_code, text)


def hashed(user: str, key: bytes) -> str:
    """Return a user id that can't be guessed without the key: HMAC-SHA-256, shortened to 128 bits.

    >>> hashed("u-17", b"key of at least 16 bytes")
    'h:dbb80e48064961648fa69c5ca165ca2d'
    """
    digest = hmac.new(key, user.encode("utf-8", "surrogatepass"), hashlib.sha256)
    return f"h:{digest.hexdigest()[:HASH_LENGTH]}"


def privacy_from_environment(environ: Mapping[str, str] = os.environ) -> Privacy | None:
    """Return what TAXIMETER_REDACT, _USER_KEY and _MAX_CHARACTERS ask for; None where they ask nothing."""
    sets = [name.strip() for name in environ.get("TAXIMETER_REDACT", "").split(",")]
    key = environ.get("TAXIMETER_USER_KEY") or None
    longest = environ.get("TAXIMETER_MAX_CHARACTERS", "")
    if not (any(sets) or key or longest):
        return None
    if longest and not longest.isdecimal():
        raise ValueError(f"TAXIMETER_MAX_CHARACTERS={longest!r} must be a whole number")
    return Privacy(
        sets=[name for name in sets if name],
        user_key=key,
        max_characters=int(longest or DEFAULT_MAX_CHARACTERS),
    )


class PrivateExporter(SpanExporter):
    """Exports what `Privacy` leaves of spans."""

    def __init__(self, inner: SpanExporter, privacy: Privacy) -> None:
        self._inner, self._privacy = inner, privacy

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export a batch."""
        return self._inner.export(cleaned(spans, self._privacy))

    def shutdown(self) -> None:
        """Pass on."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Pass on."""
        return self._inner.force_flush(timeout_millis)


class PrivateSender:
    """Sends what `Privacy` leaves of spans."""

    def __init__(self, inner: Sender, privacy: Privacy) -> None:
        self._inner, self._privacy = inner, privacy

    def send(self, spans: Sequence[ReadableSpan]) -> Sent:
        """Send a batch."""
        return self._inner.send(cleaned(spans, self._privacy))

    @property
    def is_unanswered(self) -> bool:
        """Pass on."""
        return self._inner.is_unanswered

    def anew(self, timeout_s: float | None = None) -> Sender:
        """Return the same with connections of its own."""
        return PrivateSender(self._inner.anew(timeout_s), self._privacy)

    def shutdown(self) -> None:
        """Pass on."""
        self._inner.shutdown()


def cleaned(spans: Sequence[ReadableSpan], privacy: Privacy) -> list[ReadableSpan]:
    """Return spans as they may leave; one whose cleaning fails leaves with its facts alone."""
    clean: list[ReadableSpan] = []
    for span in spans:
        try:
            clean.append(privacy.clean(span))
        except Exception as error:  # noqa: BLE001 - the user's callable
            faults.record("Privacy.redact", error)
            clean.append(
                Privacy(redact=lambda key, text: None, user_key=privacy.user_key).clean(span)
            )
    return clean

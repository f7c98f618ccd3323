"""The events of one streamed message in, what they say of its cost out: model, usage so far, pieces of text."""

from __future__ import annotations

from typing import Any

from taximeter.clients.fields import field
from taximeter.runs.model_calls import plain


class StreamedUsage:
    """What the events of one stream have told. Whether its helper can accumulate them does not matter."""

    def __init__(self) -> None:
        self.usage: dict[str, Any] = {}
        self.model: Any = None
        self.pieces = 0
        """Non-empty pieces of text."""
        self.is_complete = False
        """Whether the final output was told; the first event has no count of it."""

    def item(self, event: Any) -> None:
        """See one event."""
        kind = field(event, "type")
        if kind == "message_start":
            message = field(event, "message")
            self.model = field(message, "model")
            self.usage |= usage_of(message)
        elif kind == "message_delta":
            last = usage_of(event)
            self.usage |= last
            self.is_complete = self.is_complete or "output_tokens" in last
        elif kind == "content_block_delta" and field(field(event, "delta"), "text"):
            self.pieces += 1


def usage_of(message: Any) -> dict[str, Any]:
    """Return the usage of a message or an event without what is null; empty where there is none."""
    usage = plain(field(message, "usage"))
    return {key: value for key, value in usage.items() if value is not None} if usage else {}

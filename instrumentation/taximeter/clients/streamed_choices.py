"""The chunks of a streamed chat answer in, its choices as a whole answer has them out; for who records content."""

from __future__ import annotations

from typing import Any

from taximeter.clients.fields import field


class StreamedChoices:
    """Puts together what the model says, up to so many characters of text and arguments."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._texts: dict[int, list[str]] = {}
        self._calls: dict[tuple[int, int], dict[str, Any]] = {}
        self._arguments: dict[tuple[int, int], list[str]] = {}
        self._reasons: dict[int, str] = {}

    def add(self, chunk: Any) -> None:
        """Take one chunk."""
        for choice in field(chunk, "choices") or ():
            at, delta = field(choice, "index") or 0, field(choice, "delta")
            texts = self._texts.setdefault(at, [])
            if text := self._bounded(field(delta, "content")):
                texts.append(text)
            for call in field(delta, "tool_calls") or ():
                self._add_call((at, field(call, "index") or 0), call)
            if isinstance(reason := field(choice, "finish_reason"), str):
                self._reasons[at] = reason

    def whole(self) -> list[dict[str, Any]]:
        """Return the choices as far as they came."""
        return [
            {
                "index": at,
                "message": {"role": "assistant", "content": "".join(texts) or None}
                | self._calls_of(at),
                "finish_reason": self._reasons.get(at),
            }
            for at, texts in sorted(self._texts.items())
        ]

    def _add_call(self, key: tuple[int, int], call: Any) -> None:
        function = field(call, "function")
        known = self._calls.setdefault(key, {"id": None, "name": None})
        known["id"] = field(call, "id") or known["id"]
        known["name"] = field(function, "name") or known["name"]
        if text := self._bounded(field(function, "arguments")):
            self._arguments.setdefault(key, []).append(text)

    def _calls_of(self, choice: int) -> dict[str, Any]:
        calls = [
            {
                "id": call["id"],
                "type": "function",
                "function": {
                    "name": call["name"],
                    "arguments": "".join(self._arguments.get(key, [])),
                },
            }
            for key, call in sorted(self._calls.items())
            if key[0] == choice
        ]
        return {"tool_calls": calls} if calls else {}

    def _bounded(self, text: Any) -> str:
        if not isinstance(text, str):
            return ""
        kept = text[: self._left]
        self._left -= len(kept)
        return kept

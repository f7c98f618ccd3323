"""OpenAI's batches: one span a result when the file of results is fetched, where their usage is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from taximeter import lifecycle, semconv
from taximeter.clients.batch_results import count_result, is_first_look
from taximeter.clients.fields import field
from taximeter.clients.servers import server_of
from taximeter.guard import guarded

_SHAPES: Final = {
    "chat.completion": (semconv.CHAT, "chat_completions", "openai_chat"),
    "response": (semconv.CHAT, "responses", "openai_responses"),
    "list": (semconv.EMBEDDINGS, "embeddings", "openai_chat"),
}
"""By the ``object`` of a result's body: operation, API, shape of its usage."""
_READ: Final = ("HttpxBinaryResponseContent", "LegacyAPIResponse")
"""The SDK's answers that are read whole; what the program streams to disk is not looked at."""
_BEGINS: Final = b'{"id"'


def is_file(path: str) -> bool:
    """Return whether a request fetches a file."""
    return path.startswith("/files/") and path.endswith("/content")


@guarded(default=None)
def note_file(client: Any, answer: Any) -> None:
    """Count the results in a fetched file, where it is a batch's."""
    if not lifecycle.is_active() or type(answer).__name__ not in _READ:
        return
    content: bytes = answer.content
    first = content[: content.find(b"\n")] if b"\n" in content else content
    if not first.startswith(_BEGINS) or b'"custom_id"' not in first:
        return
    server = server_of(client)
    for result_id, body in _results(content):
        if is_first_look(result_id):
            _count(body, server.provider, server.host)


def _results(content: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the id and the body of each result that has a usage; failures have none, a broken line says nothing."""
    for line in content.splitlines():
        try:
            result = json.loads(line)
        except ValueError:
            continue
        body = field(field(result, "response"), "body")
        if isinstance(body, dict) and body.get("usage") and body.get("object") in _SHAPES:
            yield str(field(result, "id")), body


def _count(body: Mapping[str, Any], provider: str, host: str | None) -> None:
    operation, api_type, shape = _SHAPES[body["object"]]
    choices = body.get("choices") or ()
    said = {
        semconv.OPENAI_API_TYPE: api_type,
        semconv.RESPONSE_ID: body.get("id"),
        semconv.RESPONSE_MODEL: body.get("model"),
        semconv.FINISH_REASONS: [choice.get("finish_reason") for choice in choices] or None,
        semconv.SERVER_ADDRESS: host,
    }
    count_result(
        operation, provider, str(body.get("model")), body["usage"], shape,
        told={key: value for key, value in said.items() if value}, server_address=host,
    )  # fmt: skip

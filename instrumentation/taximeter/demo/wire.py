"""An answer in the shape of the API that was asked: JSON, or server-sent events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from taximeter.demo import fake_anthropic, fake_openai
from taximeter.demo.answers import Answer, Api

APIS: Final[Mapping[str, Api]] = {
    "/v1/messages": "messages",
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
    "/v1/embeddings": "embeddings",
}


def api_at(path: str) -> Api | None:
    """Return what answers at a path, also where a base URL puts something before it."""
    return next((api for known, api in APIS.items() if path.endswith(known[len("/v1") :])), None)


def whole(api: Api, body: Mapping[str, Any], answer: Answer) -> Mapping[str, Any]:
    """Return the answer as one object."""
    if api == "messages":
        return fake_anthropic.message(answer)
    if api == "chat":
        return fake_openai.chat_completion(answer)
    if api == "responses":
        return fake_openai.response(answer)
    texts = body.get("input")
    return fake_openai.embeddings(
        answer,
        count=len(texts) if isinstance(texts, list) else 1,
        dimensions=int(body.get("dimensions") or 256),
        base64=body.get("encoding_format") == "base64",
    )


def chunks(api: Api, body: Mapping[str, Any], answer: Answer) -> Iterable[bytes]:
    """Return the answer as the events of a stream."""
    if api == "messages":
        return fake_anthropic.events(answer)
    if api == "responses":
        return fake_openai.response_events(answer)
    asked = (body.get("stream_options") or {}).get("include_usage", False)
    return fake_openai.chat_chunks(answer, include_usage=bool(asked))

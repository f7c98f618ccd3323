"""What OpenAI's clients fetch later: responses made in the background, files of batch results."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from taximeter.clients.openai_background import is_response, note_look
from taximeter.clients.openai_batches import is_file, note_file


def wrap_get(get: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the client's way to fetch something."""

    @functools.wraps(get)
    def wrapped(self: Any, path: str, **kwargs: Any) -> Any:
        answer = get(self, path, **kwargs)
        _note(self, path, answer)
        return answer

    return wrapped


def wrap_async_get(get: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the asynchronous client's way to fetch something."""

    @functools.wraps(get)
    async def wrapped(self: Any, path: str, **kwargs: Any) -> Any:
        answer = await get(self, path, **kwargs)
        _note(self, path, answer)
        return answer

    return wrapped


def _note(client: Any, path: str, answer: Any) -> None:
    if is_response(path):
        note_look(answer)
    elif is_file(path):
        note_file(client, answer)

"""Anthropic's batches: one span a result when the results are collected, where their usage is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from taximeter import lifecycle, semconv
from taximeter.clients.anthropic_calls import told_by
from taximeter.clients.batch_results import count_result, is_first_look
from taximeter.clients.fields import field
from taximeter.clients.streams import observe
from taximeter.guard import guarded


@guarded(default=None)
def watch_batches() -> None:
    """Wrap the ways to collect results."""
    from anthropic.resources.beta.messages import batches as beta
    from anthropic.resources.messages import batches as stable

    for batches in (stable, beta):
        setattr(batches.Batches, "results", _watched(batches.Batches.results))
        setattr(batches.AsyncBatches, "results", _async_watched(batches.AsyncBatches.results))


def _watched(results: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(results)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return _watch(results(*args, **kwargs))

    return wrapped


def _async_watched(results: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(results)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        return _watch(await results(*args, **kwargs))

    return wrapped


def _watch(decoder: Any) -> Any:
    _observe_results(decoder)
    return decoder


@guarded(default=None)
def _observe_results(decoder: Any) -> None:
    if lifecycle.is_active() and hasattr(decoder, "_iterator"):
        observe(decoder, _BatchResults())


class _BatchResults:
    """Makes one span a result; a batch collected twice is counted once."""

    def item(self, item: Any) -> bool:
        """See one result."""
        result = field(item, "result")
        message = field(result, "message")
        message_id = field(message, "id")
        if message is not None and is_first_look(message_id):
            _count(message)
        return True

    def end(self, error: BaseException | None) -> None:
        """Nothing to end."""


def _count(message: Any) -> None:
    model = str(field(message, "model"))
    count_result(
        semconv.CHAT, "anthropic", model, field(message, "usage"), "anthropic",
        told=told_by(message),
    )  # fmt: skip

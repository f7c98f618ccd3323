"""One decompressed request in, its outcome out after the commit; the same for HTTP and gRPC."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import Future
from typing import Final, Protocol

from taximeter_collector.ingest.decode import Signal
from taximeter_collector.ingest.ingest import Outcome

ANSWER_WITHIN_S: Final = 8.0
"""Exporters wait 10 s for everything; a refusal that they still hear is sent again."""

_LARGE_BYTES: Final = 64 * 1024
_QUIET_S: Final = 10.0

logger = logging.getLogger(__name__)


class Acceptor(Protocol):
    """The part of the ingest that the receivers need."""

    def submit(self, signal: Signal, body: bytes) -> Future[Outcome]:
        """Queue one protobuf body; the future resolves after the commit."""


async def accept(ingest: Acceptor, signal: Signal, body: bytes) -> Outcome:
    """Return what became of a request, once it is on disk. Raises what the ingest raises."""
    if len(body) > _LARGE_BYTES:
        # Decoding takes long enough to keep other clients waiting.
        future = await asyncio.to_thread(ingest.submit, signal, body)
    else:
        future = ingest.submit(signal, body)
    future.add_done_callback(_take_note)
    async with asyncio.timeout(ANSWER_WITHIN_S):
        # The shield: a client that goes away must not cancel what the writer is about to settle.
        outcome = await asyncio.shield(asyncio.wrap_future(future))
    if outcome.rejected:
        # Python's exporters never read a partial success: say it here too.
        say(f"rejected {signal}", f"rejected {outcome.rejected} of {signal}: {outcome.message}")
    return outcome


def say(subject: str, text: str, now: float | None = None) -> bool:
    """Log a warning about a subject, at most once in ten seconds; return whether it was logged."""
    moment = time.monotonic() if now is None else now
    if moment - _said.get(subject, -_QUIET_S) < _QUIET_S:
        return False
    _said[subject] = moment
    logger.warning(text)
    return True


_said: Final[dict[str, float]] = {}


def _take_note(future: Future[Outcome]) -> None:
    """Read the error of a request whose client is gone, so that nothing complains later."""
    if not future.cancelled():
        future.exception()

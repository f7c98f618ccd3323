"""One decompressed request in, its outcome out after the commit; the same for HTTP and gRPC."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Final, Protocol

from taximeter_collector.decode import Signal
from taximeter_collector.ingest import Outcome

ANSWER_WITHIN_S: Final = 8.0
"""Exporters wait 10 s for everything; a refusal that they still hear is sent again."""

_LARGE_BYTES: Final = 64 * 1024


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
        return await asyncio.shield(asyncio.wrap_future(future))


def _take_note(future: Future[Outcome]) -> None:
    """Read the error of a request whose client is gone, so that nothing complains later."""
    if not future.cancelled():
        future.exception()

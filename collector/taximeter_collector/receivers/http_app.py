"""The collector's HTTP port as one application: OTLP in, queries and state out."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from taximeter.settings.settings import CollectorSettings
from taximeter_collector.query.read_api import (
    Format,
    QueryFault,
    QueryRequest,
    Readable,
    parse_query,
    run_query,
)
from taximeter_collector.receivers.acceptance import Acceptor
from taximeter_collector.receivers.budgets import Budgets, budget_routes
from taximeter_collector.receivers.guarded import (
    Handler,
    body_of,
    document_of,
    fault_response,
    guard_by,
    refuse_forms,
)
from taximeter_collector.receivers.http_receiver import otlp_routes
from taximeter_collector.status import Follows, Keeps, StatusReport, Takes
from taximeter_collector.store.health import is_being_reattached, is_damage
from taximeter_collector.thread_priority import READERS_NICENESS, stand_back

QUERIES_AT_ONCE: Final = 4
BYTES_PER_WAITING_BYTE: Final = 2
"""What a body may take in memory while it waits to be written: itself, and its rows."""
REATTACH_PAUSE_S: Final = 0.25
_ARROW: Final = "application/vnd.apache.arrow.stream"
_DAMAGED: Final = "A part of a data file that this query reads can't be read: stop the collector and run `taximeter repair`."


class IngestPart(Acceptor, Takes, Protocol):
    """The ingest as the receivers and the status need it."""


class StorePart(Readable, Keeps, Protocol):
    """The store as queries and the status need it."""

    def note_damage(self, error: BaseException) -> None:
        """Raise an alarm for a block that could not be read."""


class Answers(Protocol):
    """A task of its own behind one address: compares the roll-ups with the spans, prices again."""

    def answer(self, body: bytes) -> dict[str, Any]:
        """Return the report for a request's body. Raises QueryFault."""


class Sends(Protocol):
    """What sends all that is stored, as tar archives. Both raise QueryFault."""

    def backup(self, asked: Mapping[str, Any]) -> Iterator[bytes]:
        """Return the data files."""

    def export(self, asked: Mapping[str, Any]) -> Iterator[bytes]:
        """Return Parquet files."""


def build_app(
    settings: CollectorSettings,
    ingest: IngestPart,
    store: StorePart,
    rollups: Follows,
    verifier: Answers,
    repricer: Answers,
    sender: Sends,
) -> Starlette:
    """Return the application of the HTTP port."""
    report = StatusReport(ingest, store, rollups)
    guard = guard_by(settings.query_token)
    return Starlette(
        routes=[
            *otlp_routes(ingest, settings.max_request_mib << 20, settings.ingest_token),
            Route(
                "/v1/query",
                guard(_query(store, lambda: BYTES_PER_WAITING_BYTE * ingest.queue_bytes)),
                methods=["POST"],
            ),
            Route("/v1/verify", guard(_task(verifier)), methods=["POST"]),
            Route("/v1/prices/reprice", guard(_task(repricer)), methods=["POST"]),
            Route("/v1/backup", guard(_archive(sender.backup)), methods=["POST"]),
            Route("/v1/export", guard(_archive(sender.export)), methods=["POST"]),
            *budget_routes(Budgets(), settings.ingest_token, settings.query_token),
            Route("/v1/status", guard(_status(report)), methods=["GET"]),
            Route("/metrics", guard(_metrics(report)), methods=["GET"]),
            Route("/healthz", _healthz(store), methods=["GET"]),
            Route("/readyz", _readyz(store), methods=["GET"]),
        ]
    )


def _query(store: StorePart, others: Callable[[], int]) -> Handler:
    slots = asyncio.Semaphore(QUERIES_AT_ONCE)

    async def query(request: Request) -> Response:
        try:
            refuse_forms(request)
            asked = parse_query(await body_of(request))
            format = _format(request.headers.get("accept", ""))
            # Waiting for a place is a part of the time that the client gives.
            deadline = time.monotonic() + asked.timeout_ms / 1000
            async with _slot(slots, deadline):

                def run(gone: threading.Event) -> bytes:
                    return _run(store, asked, format, gone, deadline, others)

                answer = await _while_connected(request, run)
        except QueryFault as fault:
            return fault_response(fault)
        except ClientDisconnect:
            return Response(status_code=400)
        return Response(answer, media_type=_ARROW if format == "arrow" else "application/json")

    return query


def _run(
    store: StorePart,
    asked: QueryRequest,
    format: Format,
    gone: threading.Event,
    deadline: float,
    others: Callable[[], int],
) -> bytes:
    """Run a query; again when a file was put back under it, which a failed checkpoint makes necessary."""
    while True:
        try:
            return run_query(store, asked, format, gone, deadline=deadline, others=others)
        except QueryFault as fault:
            if is_damage(fault):
                store.note_damage(fault)
                raise QueryFault(500, "damaged", _DAMAGED) from None
            if gone.is_set() or not is_being_reattached(fault):
                raise
        if time.monotonic() + REATTACH_PAUSE_S > deadline:
            raise QueryFault(
                503, "store", "A data file can't be read now (see /v1/status): ask again."
            )
        time.sleep(REATTACH_PAUSE_S)


@asynccontextmanager
async def _slot(slots: asyncio.Semaphore, deadline: float) -> AsyncIterator[None]:
    """Hold one of the slots. Raises QueryFault 503 when none came free in the query's own time."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            await slots.acquire()
    except TimeoutError:
        raise QueryFault(
            503, "busy", f"{QUERIES_AT_ONCE} other queries were running all the time: ask again."
        ) from None
    try:
        yield
    finally:
        slots.release()


async def _while_connected(request: Request, work: Callable[[threading.Event], bytes]) -> bytes:
    """Return what the work on a thread gives; tell it when the client goes away."""
    gone = threading.Event()
    working = asyncio.get_running_loop().run_in_executor(_readers, work, gone)
    leaving = asyncio.ensure_future(_disconnect(request))
    leaving.add_done_callback(lambda _: gone.set())
    try:
        return await working
    finally:
        leaving.cancel()


_readers: Final = ThreadPoolExecutor(
    QUERIES_AT_ONCE, "reader", initializer=stand_back, initargs=(READERS_NICENESS,)
)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _task(task: Answers) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            refuse_forms(request)
            found = await run_in_threadpool(task.answer, await body_of(request))
        except QueryFault as fault:
            return fault_response(fault)
        except ClientDisconnect:
            return Response(status_code=400)
        return JSONResponse(found)

    return answer


def _archive(send: Callable[[Mapping[str, Any]], Iterator[bytes]]) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            refuse_forms(request)
            asked = document_of(await body_of(request))
            pieces = await asyncio.get_running_loop().run_in_executor(_readers, send, asked)
        except QueryFault as fault:
            return fault_response(fault)
        except ClientDisconnect:
            return Response(status_code=400)
        return StreamingResponse(pieces, media_type="application/x-tar")

    return answer


def _format(accept: str) -> Format:
    """Return what to answer with; Arrow unless JSON is asked for.

    >>> _format(""), _format("application/json;q=0.9"), _format("*/*")
    ('arrow', 'json', 'arrow')
    """
    kinds = [kind.partition(";")[0].strip().lower() for kind in accept.split(",")]
    return "json" if "application/json" in kinds and _ARROW not in kinds else "arrow"


def _status(report: StatusReport) -> Handler:
    async def status(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(report.as_dict))

    return status


def _metrics(report: StatusReport) -> Handler:
    async def metrics(request: Request) -> Response:
        text = await run_in_threadpool(report.as_prometheus)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return metrics


def _healthz(store: StorePart) -> Handler:
    async def healthz(request: Request) -> Response:
        """200 while the process serves: what is wrong with the store is not mended by a restart."""
        state = await run_in_threadpool(store.report)
        text = "ok" if state["state"] == "ok" else f"{state['state']}: {state['message']}"
        return PlainTextResponse(f"{text}\n")

    return healthz


def _readyz(store: StorePart) -> Handler:
    def look() -> str:
        with store.read() as cursor:
            cursor.execute("select 1").fetchall()
        return str(store.report()["message"])

    async def readyz(request: Request) -> Response:
        try:
            refusal = await run_in_threadpool(look)
        except Exception as error:  # noqa: BLE001 - not ready is an answer, whatever the reason
            return PlainTextResponse(f"the store does not answer: {error}\n", status_code=503)
        if refusal:
            return PlainTextResponse(f"{refusal}\n", status_code=503)
        return PlainTextResponse("ready\n")

    return readyz

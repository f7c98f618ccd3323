"""What an agent of the demo does not see: the script of its request, and the wires to the fake API.

Agents call real SDK clients; their transports add the next scripted reply to each HTTP request and
move the simulated clock by the time that the fake API says a real model would have taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, TypeVar

import httpx2

from taximeter.demo import clock
from taximeter.demo.replies import FIRST_HEADER, REPLY_HEADER, STALL, TOOK_HEADER, Fault, Reply

STALLED_READ_S: Final = 0.03
"""How long an attempt that is scripted to time out really waits while time is simulated."""

T = TypeVar("T")


class ToolError(Exception):
    """A tool's own failure, as its service would report it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one tool execution goes."""

    result: str = "ok"
    seconds: float = 0.2
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """Everything that will happen in one request, in order; a branch is a concurrent sub-agent."""

    replies: tuple[Reply, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    branches: tuple[Script, ...] = ()
    batch: tuple[Reply, ...] = ()
    """The answers to the entries of the request's one message batch."""


class _Stage:
    """The place in a script that a request has reached."""

    def __init__(self, script: Script) -> None:
        self.replies = iter(script.replies)
        self.outcomes = iter(script.outcomes)
        self.branches = iter(script.branches)
        self.batch = script.batch
        self.current = Reply()


_stage: ContextVar[_Stage | None] = ContextVar("taximeter_demo_stage", default=None)


@contextmanager
def on_stage(script: Script) -> Iterator[None]:
    """Let the current context follow a script."""
    token = _stage.set(_Stage(script))
    try:
        yield
    finally:
        _stage.reset(token)


def act() -> str:
    """Play the next tool outcome: spend its time, then return its result or raise ToolError."""
    outcome = _next_outcome()
    clock.spend(outcome.seconds)
    return _settle(outcome)


async def act_async() -> str:
    """Play the next tool outcome without holding the event loop."""
    outcome = _next_outcome()
    await clock.spend_async(outcome.seconds)
    return _settle(outcome)


async def together(work: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Return the results of concurrent sub-agents; simulated time moves on by the slowest.

    All are waited for; then the first failure, if any, is raised.
    """
    parent = clock.simulated_time()
    stage = _stage.get()

    async def branch(part: Callable[[], Awaitable[T]]) -> tuple[T | BaseException, int]:
        script = next(stage.branches, Script()) if stage is not None else Script()
        with on_stage(script), _living_beside(parent) as own:
            result = (await asyncio.gather(part(), return_exceptions=True))[0]
            return result, 0 if own is None else own.now_ns

    ended = await asyncio.gather(*(branch(part) for part in work))
    if parent is not None:
        parent.now_ns = max([parent.now_ns, *(at for _, at in ended)])
    results: list[T] = []
    for result, _ in ended:
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return results


def _living_beside(
    parent: clock.SimulatedTime | None,
) -> AbstractContextManager[clock.SimulatedTime | None]:
    return nullcontext() if parent is None else clock.living_at(parent.now_ns)


class ScriptedTransport(httpx2.BaseTransport):
    """HTTP to the fake API, for synchronous clients."""

    def __init__(self) -> None:
        self._wire = httpx2.HTTPTransport(verify=False)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one attempt, with the reply that the script has for it."""
        fault = _prepare(request)
        try:
            response = self._wire.handle_request(request)
        except httpx2.TimeoutException:
            _skip_stall(fault)
            raise
        if _skip_latency(request, response, fault):
            response.stream = _TimedStream(response)
        return response

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()


class AsyncScriptedTransport(httpx2.AsyncBaseTransport):
    """HTTP to the fake API, for asynchronous clients."""

    def __init__(self) -> None:
        self._wire = httpx2.AsyncHTTPTransport(verify=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one attempt, with the reply that the script has for it."""
        fault = _prepare(request)
        try:
            response = await self._wire.handle_async_request(request)
        except httpx2.TimeoutException:
            _skip_stall(fault)
            raise
        if _skip_latency(request, response, fault):
            response.stream = _AsyncTimedStream(response)
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._wire.aclose()


class _TimedStream(httpx2.SyncByteStream):
    """A streamed body that moves the clock to its first and after its last chunk."""

    def __init__(self, response: httpx2.Response) -> None:
        self._chunks = response.stream
        self._first_s, self._rest_s = _stream_seconds(response)

    def __iter__(self) -> Iterator[bytes]:
        assert isinstance(self._chunks, httpx2.SyncByteStream)
        clock.skip(self._first_s)
        yield from self._chunks
        clock.skip(self._rest_s)

    def close(self) -> None:
        if isinstance(self._chunks, httpx2.SyncByteStream):
            self._chunks.close()


class _AsyncTimedStream(httpx2.AsyncByteStream):
    """The asynchronous twin of `_TimedStream`."""

    def __init__(self, response: httpx2.Response) -> None:
        self._chunks = response.stream
        self._first_s, self._rest_s = _stream_seconds(response)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._chunks, httpx2.AsyncByteStream)
        clock.skip(self._first_s)
        async for chunk in self._chunks:
            yield chunk
        clock.skip(self._rest_s)

    async def aclose(self) -> None:
        if isinstance(self._chunks, httpx2.AsyncByteStream):
            await self._chunks.aclose()


def _next_outcome() -> Outcome:
    stage = _stage.get()
    return next(stage.outcomes, Outcome()) if stage is not None else Outcome()


def _settle(outcome: Outcome) -> str:
    if outcome.error is not None:
        raise ToolError(outcome.error)
    return outcome.result


def _prepare(request: httpx2.Request) -> Fault | None:
    """Write the script's reply into the request; return the fault that this attempt will meet."""
    stage = _stage.get()
    if stage is None or request.method != "POST":
        return None
    if request.url.path.endswith("/batches"):
        entries = ",".join(reply.to_header() for reply in stage.batch)
        request.headers[REPLY_HEADER] = f"[{entries}]"
        return None
    attempt = int(request.headers.get("x-stainless-retry-count", "0"))
    if attempt == 0:
        stage.current = next(stage.replies, Reply())
    reply = stage.current
    request.headers[REPLY_HEADER] = reply.to_header()
    fault = reply.faults[attempt] if attempt < len(reply.faults) else None
    if fault is not None and fault.status == STALL:
        read_s = fault.after_s if clock.simulated_time() is None else STALLED_READ_S
        limits = dict(request.extensions.get("timeout", {}), read=read_s)
        request.extensions = {**request.extensions, "timeout": limits}
    return fault


def _skip_stall(fault: Fault | None) -> None:
    if fault is not None and fault.status == STALL:
        clock.skip(fault.after_s)


def _skip_latency(request: httpx2.Request, response: httpx2.Response, fault: Fault | None) -> bool:
    """Move the clock past an unstreamed answer; return whether the body has still to be timed."""
    if response.headers.get("content-type", "").startswith("text/event-stream"):
        return clock.simulated_time() is not None
    clock.skip(_seconds(response, TOOK_HEADER))
    if fault is not None:
        clock.skip(fault.retry_after_s)
    return False


def _stream_seconds(response: httpx2.Response) -> tuple[float, float]:
    first_s = _seconds(response, FIRST_HEADER)
    return first_s, max(0.0, _seconds(response, TOOK_HEADER) - first_s)


def _seconds(response: httpx2.Response, name: str) -> float:
    return int(response.headers.get(name, "0")) / 1000

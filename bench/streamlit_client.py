"""A browser's side of one Streamlit session, without the browser: what Streamlit 1.67's page says over its WebSocket.

It asks for runs and for what redraws itself, keeps the messages that a browser keeps, and draws nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

_FAILED = ("exception", "page_not_found")


class RunFailed(Exception):
    """A run ended otherwise than well; the message says how."""


class Viewer:
    """One person's tab. Of the app's own runs one may be awaited at a time."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._pages: dict[str, str] = {}
        self._at, self._query = "", ""
        self._known: set[str] = set()
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._run = ""
        self._ended: asyncio.Future[None] | None = None
        self.received_bytes = self.redraws = 0

    @classmethod
    @asynccontextmanager
    async def arriving(cls, url: str) -> AsyncIterator[Self]:
        """Connect as a new tab does. Raises OSError."""
        address = url.replace("http", "ws", 1) + "/_stcore/stream"
        async with connect(
            address, origin=Origin(url), subprotocols=[Subprotocol("streamlit")], max_size=None
        ) as socket:
            viewer = cls(socket)
            listening = asyncio.create_task(viewer._listen())
            try:
                yield viewer
            finally:
                listening.cancel()
                viewer._stop_timers()

    async def load(self, page: str, query: str, patience_s: float) -> float:
        """Return the seconds to the end of the run that a full load asks for. Raises RunFailed, TimeoutError."""
        return await self._ask(patience_s, query_string=query, page_name=page)

    async def go(self, page: str, patience_s: float) -> float:
        """The same for a click in the menu; `page` as in its address."""
        return await self._ask(
            patience_s, query_string=self._query, page_script_hash=self._pages[page]
        )

    async def change(self, query: str, patience_s: float) -> float:
        """The same for other values of what the address holds, on the same page."""
        return await self._ask(
            patience_s, query_string=query, page_script_hash=self._at, is_history_navigation=True
        )

    async def _ask(self, patience_s: float, **state: Any) -> float:
        self._query = state["query_string"]
        self._run, self._ended = "", asyncio.get_running_loop().create_future()
        started = time.monotonic()
        await self._send(**state)
        try:
            async with asyncio.timeout(patience_s):
                await self._ended
        finally:
            self._ended = None
        return time.monotonic() - started

    async def _send(self, **state: Any) -> None:
        message = BackMsg()
        message.rerun_script.cached_message_hashes.extend(self._known)
        message.rerun_script.context_info.timezone = "UTC"
        for name, value in state.items():
            setattr(message.rerun_script, name, value)
        await self._socket.send(message.SerializeToString())

    async def _listen(self) -> None:
        async for data in self._socket:
            assert isinstance(data, bytes)
            self.received_bytes += len(data)
            self._take(ForwardMsg.FromString(data))

    def _take(self, message: ForwardMsg) -> None:
        if message.metadata.cacheable and message.hash:
            self._known.add(message.hash)
        kind, run = message.WhichOneof("type"), message.metadata.run
        if kind == "new_session" and not run.fragment_ids:
            self._stop_timers()
            self._at, self._run = message.new_session.page_script_hash, run.script_run_id
            self.redraws += self._ended is None
        elif kind == "navigation":
            self._pages = {p.url_pathname: p.page_script_hash for p in message.navigation.app_pages}
        elif kind == "auto_rerun":
            self._start_timer(message.auto_rerun.fragment_id, message.auto_rerun.interval)
        elif kind == "script_finished" and self._run and run.script_run_id == self._run:
            self._end(None if message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY else "ended early")  # fmt: skip
        elif kind == "delta" and message.delta.new_element.WhichOneof("type") in _FAILED:
            self._end(str(message.delta.new_element)[:300])

    def _end(self, fault: str | None) -> None:
        if self._ended is None or self._ended.done():
            return
        if fault is None:
            self._ended.set_result(None)
        elif fault != "ended early":  # another run follows
            self._ended.set_exception(RunFailed(fault))

    def _start_timer(self, fragment: str, interval_s: float) -> None:
        async def tick() -> None:
            while True:
                await asyncio.sleep(interval_s)
                await self._send(
                    query_string=self._query, page_script_hash=self._at,
                    fragment_id=fragment, is_auto_rerun=True,
                )  # fmt: skip

        if (before := self._timers.pop(fragment, None)) is not None:
            before.cancel()
        self._timers[fragment] = asyncio.create_task(tick())

    def _stop_timers(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

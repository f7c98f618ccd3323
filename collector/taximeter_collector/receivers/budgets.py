"""PUT /v1/budgets from alerts, GET /v1/budgets for agents: which budgets are used up and stop calls.

Kept in memory, in no table: the next evaluation says it again. An answer's age is counted here
from the moment it came, so that no clock of an agent matters.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from math import ceil
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from taximeter.budgets.stops import number, stops_of
from taximeter.settings.secret import Secret
from taximeter_collector.query.read_api import QueryFault
from taximeter_collector.receivers.guarded import body_of, document_of, fault_response, guard_by

_TIMES: Final = ("as_of", "ends_after_s")
"""What an evaluation changes though the same budgets stop the same calls."""


@dataclass(frozen=True, slots=True)
class _Published:
    """What an agent gets."""

    body: bytes
    etag: str
    true_at: float | None = None
    """When it was true, by our clock; None: nothing is known."""


class Budgets:
    """What alerts said last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: seconds that only go forward."""
        self._clock = clock
        nothing: dict[str, Any] = {"as_of": None, "stale_after_s": 0.0, "stops": []}
        self._published = _Published(json.dumps(nothing).encode(), _etag(nothing))

    def publish(self, said: dict[str, Any]) -> None:
        """Keep it. Raises QueryFault for what agents could not read."""
        try:
            stops_of(said)
            age_s, as_of = number(said, "age_s"), said.get("as_of")
        except ValueError as error:
            raise QueryFault(400, "request", f"These are no budgets: {error}.") from None
        served = {"as_of": as_of, "stale_after_s": said["stale_after_s"], "stops": said["stops"]}
        body = json.dumps(served, ensure_ascii=False).encode()
        self._published = _Published(body, _etag(served), self._clock() - age_s)

    def response(self, known: str) -> Response:
        """Return the answer to an agent; ``known`` is the tag of the one that it has."""
        now = self._published
        headers = {"ETag": now.etag, "Cache-Control": "no-store"}
        if now.true_at is not None:
            headers["Age"] = str(ceil(max(0.0, self._clock() - now.true_at)))
        if known == now.etag:
            return Response(status_code=304, headers=headers)
        return Response(now.body, headers=headers, media_type="application/json")


def budget_routes(budgets: Budgets, ingest: Secret | None, query: Secret | None) -> list[Route]:
    """Return the routes: those who may read all may publish, those who may send may ask."""

    async def publish(request: Request) -> Response:
        try:
            budgets.publish(document_of(await body_of(request)))
        except QueryFault as fault:
            return fault_response(fault)
        except ClientDisconnect:
            return Response(status_code=400)
        return JSONResponse({})

    async def ask(request: Request) -> Response:
        return budgets.response(request.headers.get("if-none-match", ""))

    return [
        Route("/v1/budgets", guard_by(query)(publish), methods=["PUT"]),
        Route("/v1/budgets", guard_by(ingest, query, which="ingest")(ask), methods=["GET"]),
    ]


def _etag(served: dict[str, Any]) -> str:
    """Return the same tag while the same budgets stop the same calls: a weak one."""
    stops = [
        {name: value for name, value in stop.items() if name not in _TIMES}
        for stop in served["stops"]
    ]
    told = json.dumps([served["stale_after_s"], stops], sort_keys=True)
    return f'W/"{sha256(told.encode()).hexdigest()[:16]}"'

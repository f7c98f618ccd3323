"""Annotations: what people and deploy scripts mark on charts over time. Kept in alerts.sqlite, served beside silences."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.routing import Route

from taximeter_alerts.api.api_input import read_moment, read_text
from taximeter_alerts.notification_log import NotificationLog, time_text

_MOST_CHARACTERS: Final = 200
_MOST_ROWS: Final = 1_000
_COLUMNS: Final = "id, at, until, text, agent_name, service_name, author, created_at"
Answer = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Annotations:
    """The handlers of /api/annotations; the API that serves them checks who asks."""

    log: NotificationLog
    clock: Callable[[], datetime]

    def routes(
        self, guarded: Callable[[Answer], Any], guarded_write: Callable[[Answer], Any]
    ) -> list[Route]:
        path = "/api/annotations"
        return [
            Route(path, guarded(self.within)),
            Route(path, guarded_write(self.add), methods=["POST"]),
            Route(f"{path}/{{id}}", guarded_write(self.delete), methods=["DELETE"]),
        ]

    def within(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Those that touch the time from `start` to before `end`, the newest first; all without them."""
        start, end = time_text(read_moment(asked, "start")), time_text(read_moment(asked, "end"))
        rows = self.log.rows(
            f"select {_COLUMNS} from annotation"
            " where (?1 is null or coalesce(until, at) >= ?1) and (?2 is null or at < ?2)"
            f" order by at desc, id limit {_MOST_ROWS}",
            start,
            end,
        )
        return {"annotations": rows}

    def add(self, body: dict[str, Any]) -> dict[str, Any]:
        """Keep one: text, at (now), until, agent_name, service_name, author."""
        now = self.clock()
        at, until = read_moment(body, "at") or now, read_moment(body, "until")
        if until is not None and until <= at:
            raise HTTPException(400, "until must be later than at; leave it out for a moment.")
        row = {
            "id": secrets.token_hex(8),
            "at": time_text(at),
            "until": time_text(until),
            "text": _short_line(body, "text"),
            "agent_name": read_text(body, "agent_name") or None,
            "service_name": read_text(body, "service_name") or None,
            "author": read_text(body, "author"),
            "created_at": time_text(now),
        }
        self.log.execute(
            f"insert into annotation ({_COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?)", *row.values()
        )
        return row

    def delete(self, body: dict[str, Any]) -> dict[str, Any]:
        if not self.log.execute("delete from annotation where id = ?", body["id"]):
            raise HTTPException(404, "There is no such annotation.")
        return {"id": body["id"]}


def _short_line(body: dict[str, Any], name: str) -> str:
    """Return the text under this name as one line; a part of it could say something else."""
    value = body.get(name)
    line = " ".join(value.split()) if isinstance(value, str) else ""
    if not 1 <= len(line) <= _MOST_CHARACTERS:
        raise HTTPException(400, f"{name} must be 1 to {_MOST_CHARACTERS} characters.")
    return line

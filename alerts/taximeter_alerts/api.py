"""The alerts API: what fires, what fired, rules, silences. JSON over HTTP on loopback."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from taximeter.secret import Secret
from taximeter_alerts.amounts import parse_duration
from taximeter_alerts.detect import HISTORY_DAYS
from taximeter_alerts.evaluator import Evaluator
from taximeter_alerts.explain import metric_title
from taximeter_alerts.incidents import Incidents
from taximeter_alerts.notice import matches
from taximeter_alerts.notification_log import NotificationLog, time_text
from taximeter_alerts.outbox import Outbox
from taximeter_alerts.rules import Rule, RuleBook

_MOST_ROWS: Final = 1_000
_LONGEST_SILENCE: Final = timedelta(days=30)
_STATUSES: Final = ("firing", "pending", "resolved", "learning", "no_data", "error", "inactive")


@dataclass(frozen=True, slots=True)
class Api:
    """The handlers; each one runs in a worker thread."""

    book: RuleBook
    log: NotificationLog
    evaluator: Evaluator
    incidents: Incidents
    outbox: Outbox
    clock: Callable[[], datetime]
    token: Secret | None = None

    def app(self, hosts: list[str]) -> Starlette:
        """Return the application; `hosts` are the names it answers to ("*": any)."""
        return Starlette(
            routes=[
                Route("/api/rules", self._guarded(self.rules)),
                Route("/api/alerts", self._guarded(self.alerts)),
                Route("/api/incidents", self._guarded(self.history)),
                Route("/api/incidents/{id}/ack", self._guarded_write(self.ack), methods=["POST"]),
                Route("/api/silences", self._guarded(self.silences)),
                Route("/api/silences", self._guarded_write(self.silence), methods=["POST"]),
                Route(
                    "/api/silences/{id}", self._guarded_write(self.unsilence), methods=["DELETE"]
                ),
                Route("/healthz", self.healthz),
                Route("/metrics", self.metrics),
            ],
            # A page elsewhere must not reach us through a name that resolves to loopback.
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)],
            exception_handlers={HTTPException: _refuse},
        )

    def rules(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "rules": [self._rule(rule) for rule in self.book.rules],
            "receivers": [{"name": r.name, "channel": r.channel} for r in self.book.receivers],
            "every_s": self.book.every.total_seconds(),
        }

    def alerts(self, _: dict[str, Any]) -> dict[str, Any]:
        """The state of every rule and group, the firing ones first."""
        open_incidents = {
            (row["rule"], row["labels"]): row
            for row in self.log.rows("select * from incident where resolved_at is null")
        }
        silences = self.incidents.silences(self.clock())
        rules = {rule.name: rule for rule in self.book.rules}
        alerts = []
        for (name, key), current in sorted(self.evaluator.current.items()):
            rule, state, verdict = rules[name], current.state, current.verdict
            incident = open_incidents.get((name, key), {})
            silenced = [s["id"] for s in silences if matches(s["matchers"], name, current.labels)]
            alerts.append(
                {
                    "rule": name,
                    "metric": rule.watch,
                    "unit": rule.metric.unit,
                    "labels": current.labels,
                    "status": state.status,
                    "since": time_text(state.since),
                    "severity": rule.severity,
                    "sentence": incident.get("sentence") or current.sentence,
                    "value": verdict.value,
                    "usual": verdict.usual,
                    "high": verdict.high,
                    "window_s": verdict.window_s,
                    "count": verdict.count,
                    "extra_usd": verdict.extra_usd,
                    "days": verdict.days,
                    "days_wanted": HISTORY_DAYS,
                    "incident": incident.get("id"),
                    "times": incident.get("times"),
                    "acked_at": incident.get("acked_at"),
                    "silenced_by": silenced,
                }
            )
        alerts.sort(key=lambda alert: _STATUSES.index(str(alert["status"])))
        return {"alerts": alerts, "evaluated_to": time_text(self.evaluator.watermark)}

    def history(self, _: dict[str, Any]) -> dict[str, Any]:
        rows = self.log.rows(f"select * from incident order by opened_at desc limit {_MOST_ROWS}")
        return {"incidents": [_incident(row) for row in rows]}

    def silences(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"silences": self.incidents.silences(self.clock())}

    def silence(self, body: dict[str, Any]) -> dict[str, Any]:
        """Silence what matches; the body says matchers, duration, author and comment."""
        now = self.clock()
        matchers, duration = _matchers(body.get("matchers")), _duration(body.get("duration", "1h"))
        known = {"rule"} | {name for rule in self.book.rules for name in rule.by}
        for name in matchers:
            if name not in known:
                raise HTTPException(
                    400, f"No rule has a {name!r} to match; use {', '.join(sorted(known))}."
                )
        row = {
            "id": secrets.token_hex(8),
            "matchers": matchers,
            "author": str(body.get("author") or ""),
            "comment": str(body.get("comment") or ""),
            "created_at": time_text(now),
            "ends_at": time_text(now + duration),
        }
        self.log.execute(
            "insert into silence (id, matchers, author, comment, created_at, ends_at)"
            " values (?, ?, ?, ?, ?, ?)",
            *({**row, "matchers": json.dumps(matchers)}).values(),
        )
        return row

    def unsilence(self, body: dict[str, Any]) -> dict[str, Any]:
        changed = self.log.execute(
            "update silence set ended_at = ? where id = ? and ended_at is null",
            time_text(self.clock()),
            body["id"],
        )
        if not changed:
            raise HTTPException(404, "There is no such silence in force.")
        return {"id": body["id"]}

    def ack(self, body: dict[str, Any]) -> dict[str, Any]:
        """Note that somebody looks at it: no repeats from now on."""
        self.log.execute(
            "update incident set acked_at = coalesce(acked_at, ?), acked_by = coalesce(acked_by, ?)"
            " where id = ? and resolved_at is null",
            time_text(self.clock()),
            str(body.get("author") or ""),
            body["id"],
        )
        rows = self.log.rows("select * from incident where id = ?", body["id"])
        if not rows:
            raise HTTPException(404, "There is no such incident.")
        if rows[0]["resolved_at"] is not None and rows[0]["acked_at"] is None:
            raise HTTPException(409, "This incident is already over.")
        return _incident(rows[0])

    def healthz(self, _: Request) -> Response:
        health = self.evaluator.health
        body = {
            "status": "ok" if health.last_error is None else "degraded",
            "error": health.last_error,
            "evaluated_to": time_text(self.evaluator.watermark),
            "rules": len(self.book.rules),
        }
        return JSONResponse(body)

    def metrics(self, _: Request) -> Response:
        return PlainTextResponse(self._metrics(), media_type="text/plain; version=0.0.4")

    def _metrics(self) -> str:
        health, counts = self.evaluator.health, self.outbox.counts()
        firing = sum(c.state.is_firing for c in self.evaluator.current.values())
        watermark = self.evaluator.watermark
        age_s = (self.clock() - watermark).total_seconds() if watermark else None
        lines = [
            f"taximeter_alerts_evaluations_total {health.evaluations}",
            f"taximeter_alerts_evaluation_failures_total {health.failures}",
            f"taximeter_alerts_evaluation_duration_seconds {health.duration_s:.6f}",
            f"taximeter_alerts_groups {len(self.evaluator.current)}",
            f"taximeter_alerts_firing {firing}",
        ]
        if age_s is not None:
            lines.append(f"taximeter_alerts_watermark_age_seconds {age_s:.3f}")
        for status in ("queued", "sending", "ambiguous", "sent", "dead"):
            count = counts.get(status, 0)
            lines.append(f'taximeter_alerts_notices{{status="{status}"}} {count}')
        return "\n".join(lines) + "\n"

    def _rule(self, rule: Rule) -> dict[str, Any]:
        current = [c for (name, _), c in self.evaluator.current.items() if name == rule.name]
        statuses = [c.state.status for c in current]
        days = max((c.verdict.days for c in current), default=0)
        status = next((s for s in _STATUSES if s in statuses), "no_data")
        is_learning = rule.condition.kind == "spike" and days < HISTORY_DAYS
        is_learning &= status not in ("firing", "pending")
        return {
            "name": rule.name,
            "title": metric_title(rule.watch),
            "watch": rule.watch,
            "unit": rule.metric.unit,
            "by": list(rule.by),
            "where": dict(rule.where),
            "when": rule.condition.text,
            "severity": rule.severity,
            "sensitivity": rule.sensitivity,
            "is_default": rule.is_default,
            "receivers": [r.name for r in self.book.receivers_of(rule)],
            "status": status,
            "groups": {s: statuses.count(s) for s in _STATUSES if s in statuses},
            "learning": f"learning, {days} of {HISTORY_DAYS} days" if is_learning else None,
        }

    def _guarded(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
        def handle(request: Request) -> Response:
            self._check_token(request)
            return JSONResponse(answer({}))

        return handle

    def _guarded_write(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
        async def handle(request: Request) -> Response:
            self._check_token(request)
            body = await _body(request)
            # Small statements on a local file: no thread needed.
            return JSONResponse(answer({**body, **request.path_params}))

        return handle

    def _check_token(self, request: Request) -> None:
        if self.token is None:
            return
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self.token.matches(given.strip()):
            raise HTTPException(401, "Send the query token: Authorization: Bearer ….")


async def _body(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request. A page elsewhere can't send this content type."""
    if request.method == "DELETE":
        return {}
    if request.headers.get("Content-Type", "").split(";")[0].strip() != "application/json":
        raise HTTPException(415, "Send JSON: Content-Type: application/json.")
    text = await request.body()
    try:
        body = json.loads(text or b"{}")
    except ValueError:
        raise HTTPException(400, "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "The body must be a JSON object.")
    return body


def _matchers(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not value:
        raise HTTPException(400, 'matchers must name something, as {"agent_name": "support"}.')
    return {str(name): str(text) for name, text in value.items()}


def _duration(value: Any) -> timedelta:
    try:
        duration = parse_duration(str(value))
    except ValueError as error:
        raise HTTPException(400, f"duration: {error}.") from None
    if not timedelta(0) < duration <= _LONGEST_SILENCE:
        raise HTTPException(400, "duration must lie between 1s and 30d.")
    return duration


def _incident(row: Mapping[str, Any]) -> dict[str, Any]:
    peak = json.loads(row["peak"])
    status = "firing" if row["resolved_at"] is None else "resolved"
    return {
        **row,
        "labels": json.loads(row["labels"]),
        "peak": peak,
        "status": status,
        "extra_usd": peak.get("extra_usd"),
    }


def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": {"message": error.detail}}, status_code=error.status_code)

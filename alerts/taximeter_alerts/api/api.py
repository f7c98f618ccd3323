"""The alerts API: what fires, what fired, rules, silences, annotations. JSON over HTTP on loopback."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from taximeter.settings.secret import Secret
from taximeter_alerts.api.annotations import Annotations
from taximeter_alerts.api.api_input import (
    LONGEST_SILENCE,
    MOST_BYTES,
    read_body,
    read_duration,
    read_matchers,
    read_moment,
    read_text,
)
from taximeter_alerts.api.api_rows import STATUSES, alert_row, budget_row, incident_row, rule_row
from taximeter_alerts.api.backtests import Backtests
from taximeter_alerts.api.exposition import metrics_text
from taximeter_alerts.api.rules_text import MOST_BYTES as MOST_BYTES_OF_TEXT
from taximeter_alerts.api.rules_text import RulesText
from taximeter_alerts.backtest.backtest_job import BacktestJob
from taximeter_alerts.evaluator import Health
from taximeter_alerts.fleet import staleness
from taximeter_alerts.incidents.board import Board
from taximeter_alerts.incidents.dispatcher import alerts_page
from taximeter_alerts.incidents.muting import explained_by, silenced_by
from taximeter_alerts.incidents.silences import (
    add_silence,
    end_silence,
    silences_in_force,
    silences_to_come,
)
from taximeter_alerts.judge.budgets import BudgetStatus
from taximeter_alerts.judge.detect import HISTORY_DAYS
from taximeter_alerts.judge.explain import explain
from taximeter_alerts.notification_log import NotificationLog, time_text
from taximeter_alerts.outbox.notice import sample_notice
from taximeter_alerts.outbox.outbox import Outbox
from taximeter_alerts.rules.book import Rule, RuleBook
from taximeter_alerts.rules.defaults import OWN_RULES

_MOST_ROWS: Final = 1_000
_TRIES: Final = 20
_BEHIND_AFTER_S: Final = 300.0
_FAILURES_TO_BE_BLIND: Final = 3


@dataclass(frozen=True, slots=True)
class Api:
    """The handlers; each one runs in a worker thread."""

    book: RuleBook
    log: NotificationLog
    board: Board
    health: Health
    outbox: Outbox
    clock: Callable[[], datetime]
    token: Secret | None = None
    budgets: Callable[[], Sequence[BudgetStatus] | None] = tuple
    """None: they are not known yet."""
    backtests: BacktestJob | None = None
    rules_text: RulesText | None = None

    def app(self, hosts: list[str]) -> Starlette:
        """Return the application; `hosts` are the names it answers to ("*": any)."""
        annotations = Annotations(self.log, self.clock)
        text = self.rules_text
        backtests = Backtests(self.backtests, text, self.clock)
        return Starlette(
            routes=[
                Route("/api/rules", self._guarded(self.rules)),
                Route("/api/alerts", self._guarded(self.alerts)),
                Route("/api/incidents", self._guarded(self.history)),
                Route("/api/incidents/{id}/ack", self._guarded_write(self.ack), methods=["POST"]),
                Route(
                    "/api/incidents/{id}/snooze", self._guarded_write(self.snooze), methods=["POST"]
                ),
                Route("/api/budgets", self._guarded(self.spent_budgets)),
                *backtests.routes(self._guarded, self._guarded_text),
                Route("/api/receivers", self._guarded(self.receivers)),
                Route("/api/deliveries", self._guarded(self.deliveries)),
                Route(
                    "/api/deliveries/{id:path}/retry",
                    self._guarded_write(self.retry),
                    methods=["POST"],
                ),
                Route(
                    "/api/receivers/{name}/test", self._guarded_write(self.test), methods=["POST"]
                ),
                Route("/api/silences", self._guarded(self.silences)),
                Route("/api/silences", self._guarded_write(self.silence), methods=["POST"]),
                Route(
                    "/api/silences/{id}", self._guarded_write(self.unsilence), methods=["DELETE"]
                ),
                *annotations.routes(self._guarded, self._guarded_write),
                *(text.routes(self._guarded, self._guarded_text) if text is not None else ()),
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
        open_alerts = {
            (row["rule"], row["labels"]): row
            for row in self.log.rows(
                "select a.*, i.acked_at, i.acked_by, i.snoozed_until from alert a"
                " join incident i on i.id = a.incident where a.resolved_at is null"
            )
        }
        silences, causes = silences_in_force(self.log, self.clock()), self.board.causes()
        rules = {rule.name: rule for rule in (*self.book.rules, *OWN_RULES)}
        alerts = []
        for (name, key), current in sorted(self.board.current.items()):
            rule, state, verdict = rules[name], current.state, self.board.verdict((name, key))
            alert = open_alerts.get((name, key), {})
            alerts.append(
                {
                    "rule": name,
                    "metric": rule.watch,
                    "unit": rule.metric.unit,
                    "labels": current.labels,
                    "status": self._status(state.status),
                    "since": time_text(state.since),
                    "severity": alert.get("severity") or rule.severity,
                    "sentence": alert.get("sentence")
                    or current.sentence
                    or explain(rule, current.labels, verdict),
                    "value": verdict.value,
                    "usual": verdict.usual,
                    "high": verdict.high,
                    "window_s": verdict.window_s,
                    "count": verdict.count,
                    "extra_usd": verdict.extra_usd,
                    "days": verdict.days,
                    "days_wanted": HISTORY_DAYS,
                    "incident": alert.get("incident"),
                    "times": alert.get("times"),
                    "acked_at": alert.get("acked_at"),
                    "acked_by": alert.get("acked_by"),
                    "snoozed_until": alert.get("snoozed_until"),
                    "silenced_by": silenced_by(silences, rule, current.labels),
                    "explained_by": explained_by(rule, current.labels, causes),
                }
            )
        alerts.sort(key=lambda alert: STATUSES.index(str(alert["status"])))
        return {"alerts": alerts, "evaluated_to": time_text(self.board.watermark)}

    def history(self, _: dict[str, Any]) -> dict[str, Any]:
        """The newest incidents with their alerts and what each receiver was told."""
        newest = f"(select id from incident order by opened_at desc, id limit {_MOST_ROWS})"
        alerts, told = defaultdict(list), defaultdict(list)
        for row in self.log.rows(f"select * from alert where incident in {newest}"):
            alerts[row["incident"]].append(alert_row(row))
        for row in self.log.rows(f"select * from thread where incident in {newest}"):
            told[row["incident"]].append(row["receiver"])
        rows = self.log.rows(
            f"select * from incident where id in {newest} order by opened_at desc, id"
        )
        return {"incidents": [incident_row(r, alerts[r["id"]], told[r["id"]]) for r in rows]}

    def spent_budgets(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Where the budgets stand, of how long ago; a label in the URL leaves those of others out."""
        known = self.budgets()
        found = [
            status
            for status in known or ()
            if all(status.labels.get(name, value) == value for name, value in asked.items())
        ]
        age = staleness(self.book, known, self.board.watermark, self.clock())
        return {
            "budgets": [budget_row(status) for status in found],
            "as_of": time_text(age.as_of),
            "age_s": age.age_s,
            "usual_age_s": age.usual_s,
            "is_stale": age.is_stale,
        }

    def receivers(self, _: dict[str, Any]) -> dict[str, Any]:
        """The receivers, and what each could not be told."""
        waiting = self.outbox.undelivered()
        rows = []
        for receiver in self.book.receivers:
            mine = [row for row in waiting if row["receiver"] == receiver.name]
            dead = sum(row["status"] == "dead" for row in mine)
            errors = [row["last_error"] for row in mine if row["last_error"]]
            rows.append(
                {
                    "name": receiver.name,
                    "channel": receiver.channel,
                    "waiting": len(mine) - dead,
                    "dead": dead,
                    "last_error": next(iter(errors), None),
                }
            )
        return {"receivers": rows}

    def deliveries(self, _: dict[str, Any]) -> dict[str, Any]:
        """What could not be delivered, or not yet."""
        return {"deliveries": self.outbox.undelivered()}

    def retry(self, body: dict[str, Any]) -> dict[str, Any]:
        """Queue a dead notice again."""
        if not self.outbox.revive(body["id"]):
            raise HTTPException(404, "There is no such dead notice.")
        return {"id": body["id"]}

    def test(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send a test notice to a receiver through the outbox, and say how that went."""
        name = body["name"]
        if name not in self.outbox.receivers:
            known = ", ".join(self.outbox.receivers) or "none: add one under notify: in alerts.yaml"
            raise HTTPException(404, f"There is no receiver {name!r}; there is {known}.")
        notice = sample_notice(alerts_page(self.book.dashboard_url))
        id = self.outbox.add(notice, name, 0)
        for _ in range(_TRIES):
            if not self.outbox.send_next(name):
                break
            if self.outbox.outcome(id)[0] != "queued":
                break
        status, error = self.outbox.outcome(id)
        return {"id": id, "status": status, "error": error}

    def silences(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"silences": silences_to_come(self.log, self.clock())}

    def silence(self, body: dict[str, Any]) -> dict[str, Any]:
        """Silence what matches: matchers, duration or starts_at and ends_at, author, comment."""
        now = self.clock()
        matchers = read_matchers(body.get("matchers"), (*self.book.rules, *OWN_RULES))
        starts_at = read_moment(body, "starts_at") or now
        ends_at = read_moment(body, "ends_at")
        if ends_at is None:
            ends_at = starts_at + read_duration(body.get("duration", "1h"))
        if not now < ends_at or not starts_at < ends_at <= starts_at + LONGEST_SILENCE:
            raise HTTPException(400, "A silence ends in the future, at most 30d after its start.")
        return add_silence(
            self.log,
            matchers,
            now=now,
            starts_at=starts_at,
            ends_at=ends_at,
            author=read_text(body, "author"),
            comment=read_text(body, "comment"),
        )

    def unsilence(self, body: dict[str, Any]) -> dict[str, Any]:
        if body["id"].startswith("file-"):
            raise HTTPException(409, "This silence stands in alerts.yaml: take it out there.")
        if not end_silence(self.log, body["id"], self.clock()):
            raise HTTPException(404, "There is no such silence in force.")
        return {"id": body["id"]}

    def ack(self, body: dict[str, Any]) -> dict[str, Any]:
        """Note that somebody looks at it: no repeats from now on."""
        row = self._open_incident(body["id"])
        if row["acked_at"] is None:
            self.log.execute(
                "update incident set acked_at = ?, acked_by = ? where id = ? and acked_at is null",
                time_text(self.clock()),
                read_text(body, "author"),
                row["id"],
            )
        return self._open_incident(body["id"])

    def snooze(self, body: dict[str, Any]) -> dict[str, Any]:
        """Say nothing of it for a while; if it still fires then, that is told."""
        row = self._open_incident(body["id"])
        until = self.clock() + read_duration(body.get("duration", "1h"))
        self.log.execute(
            "update incident set snoozed_until = ?, snoozed_by = ? where id = ?",
            time_text(until),
            read_text(body, "author"),
            row["id"],
        )
        return self._open_incident(body["id"])

    def _open_incident(self, id: str) -> dict[str, Any]:
        rows = self.log.rows("select * from incident where id = ?", id)
        if not rows:
            raise HTTPException(404, "There is no such incident.")
        if rows[0]["resolved_at"] is not None:
            raise HTTPException(409, "This incident is already over.")
        alerts = [alert_row(r) for r in self.log.rows("select * from alert where incident = ?", id)]
        return incident_row(rows[0], alerts, [])

    def _status(self, status: str) -> str:
        """A state that could not be evaluated for a while is an error, unless it fires."""
        is_blind = self.health.failures_in_a_row >= _FAILURES_TO_BE_BLIND
        return "error" if is_blind and status != "firing" else status

    def healthz(self, _: Request) -> Response:
        health = self.health
        body = {
            "status": "ok" if health.last_error is None else "degraded",
            "error": health.last_error,
            "evaluated_to": time_text(self.board.watermark),
            "is_behind": self._is_behind(),
            "rules": len(self.book.rules),
        }
        return JSONResponse(body)

    def _is_behind(self) -> bool:
        judged = self.board.watermark
        return judged is None or (self.clock() - judged).total_seconds() > _BEHIND_AFTER_S

    def metrics(self, _: Request) -> Response:
        text = metrics_text(
            self.board, self.health, self.outbox, self.budgets() or (), self.clock()
        )
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    def _rule(self, rule: Rule) -> dict[str, Any]:
        current = {key: c for key, c in self.board.current.items() if key[0] == rule.name}
        statuses = [self._status(c.state.status) for c in current.values()]
        days = 0
        for key in current:
            days = max(days, self.board.verdict(key).days)
            if days >= HISTORY_DAYS:
                break
        return rule_row(rule, statuses, days, self.book.receivers_of(rule))

    def _guarded(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
        def handle(request: Request) -> Response:
            self._check_token(request)
            return JSONResponse(answer(dict(request.query_params)))

        return handle

    def _guarded_text(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
        return self._guarded_write(answer, MOST_BYTES_OF_TEXT)

    def _guarded_write(
        self, answer: Callable[[dict[str, Any]], dict[str, Any]], most_bytes: int = MOST_BYTES
    ) -> Any:
        async def handle(request: Request) -> Response:
            self._check_token(request)
            body = await read_body(request, most_bytes)
            return JSONResponse(await run_in_threadpool(answer, {**body, **request.path_params}))

        return handle

    def _check_token(self, request: Request) -> None:
        if self.token is None:
            return
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self.token.matches(given.strip()):
            raise HTTPException(401, "Send the query token: Authorization: Bearer ….")


def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": {"message": error.detail}}, status_code=error.status_code)

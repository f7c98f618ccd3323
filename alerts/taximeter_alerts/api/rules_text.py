"""The text of alerts.yaml over HTTP: read, checked before it is saved, saved with its author's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.routing import Route

from taximeter_alerts.amounts import say_count
from taximeter_alerts.api.api_input import read_text
from taximeter_alerts.notification_log import NotificationLog, time_text
from taximeter_alerts.rules.book import RuleBook
from taximeter_alerts.rules.rules_file import RulesError, say_book
from taximeter_alerts.rules.rules_on_disk import ChangedMeanwhile, NotWritable, RulesOnDisk

MOST_BYTES: Final = 2_000_000
"""Of a request: JSON writes a character in up to six bytes of one."""
Answer = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class InForce:
    """What the service goes by."""

    digest: str
    """Of the text whose rules are judged; empty: the default rules, without a file."""
    problem: str | None = None
    """Why that is not the text of the file, None if it is, or is about to be."""


@dataclass(frozen=True, slots=True)
class RulesText:
    """The handlers of /api/rules/…; the API that serves them checks who asks."""

    disk: RulesOnDisk
    log: NotificationLog
    clock: Callable[[], datetime]
    in_force: Callable[[], InForce]

    def routes(
        self, guarded: Callable[[Answer], Any], guarded_write: Callable[[Answer], Any]
    ) -> list[Route]:
        return [
            Route("/api/rules/file", guarded(self.file)),
            Route("/api/rules/file", guarded_write(self.save), methods=["PUT"]),
            Route("/api/rules/check", guarded_write(self.check), methods=["POST"]),
        ]

    def file(self, _: dict[str, Any]) -> dict[str, Any]:
        """The text, what tells it from another, and whether it could be saved from here."""
        text = digest = ""
        now, why_not = self.in_force(), self.disk.why_not_writable()
        problem = now.problem
        try:
            written = self.disk.read()
            text, digest = written.text, written.digest
        except RulesError as error:
            problem = why_not = str(error)
        saved = self.log.rows(
            "select author, at from rules_change where digest = ? order by at desc limit 1", digest
        )
        return {
            "file": {
                "path": str(self.disk.file.absolute()),
                "text": text,
                "digest": digest,
                "is_file": bool(digest),
                "is_in_force": problem is None and digest == now.digest,
                "why_not_writable": why_not,
                "problem": problem,
                "saved_by": saved[0]["author"] if saved else None,
                "saved_at": saved[0]["at"] if saved else None,
            }
        }

    def check(self, body: dict[str, Any]) -> dict[str, Any]:
        """All faults of a text, as `taximeter rules check` says them; without any what it holds."""
        try:
            book = self.disk.check(text_of(body))
        except RulesError as error:
            faults = [
                {"line": fault.line, "column": fault.column, "message": fault.message}
                for fault in error.faults
            ]
            return {"faults": faults, "said": str(error)}
        return {"faults": [], "said": f"{self.disk.file}: {say_book(book)}"}

    def book(self, text: str) -> RuleBook:
        """Return what a text says; with faults the request is refused."""
        try:
            return self.disk.check(text)
        except RulesError as error:
            raise _refusal(error) from None

    def save(self, body: dict[str, Any]) -> dict[str, Any]:
        """Put a text in the file's place: text, author, digest of the text that was edited."""
        text, digest = text_of(body), body.get("digest")
        if not isinstance(digest, str):
            raise HTTPException(400, "digest must be that of the text that was edited.")
        try:
            saved = self.disk.replace(text, digest)
        except RulesError as error:
            raise _refusal(error) from None
        except ChangedMeanwhile:
            raise HTTPException(
                409, f"{self.disk.file} has changed since it was read: nothing was saved."
            ) from None
        except NotWritable as error:
            raise HTTPException(403, str(error)) from None
        self.log.execute(
            "insert into rules_change (at, author, file, digest) values (?, ?, ?, ?)",
            time_text(self.clock()),
            read_text(body, "author"),
            str(self.disk.file),
            saved,
        )
        return self.file({})


def text_of(body: dict[str, Any]) -> str:
    """Return the text of a request."""
    text = body.get("text")
    if not isinstance(text, str):
        raise HTTPException(400, "text must be that of an alerts.yaml.")
    return text


def _refusal(error: RulesError) -> HTTPException:
    number, first = say_count(len(error.faults), "fault"), error.faults[0]
    told = f"The text has {number}, the first at {first.line}:{first.column}: {first.message}."
    return HTTPException(400, told)

"""PagerDuty: a notice in, an event of its Events API version 2 out."""

from __future__ import annotations

import json
from typing import Any, Final

from taximeter.settings.secret import Secret
from taximeter_alerts.notifiers.web import Web, refuse_status
from taximeter_alerts.outbox.delivery import Delivery
from taximeter_alerts.outbox.notice import Notice

API: Final = "https://events.pagerduty.com/v2/enqueue"
_MOST_CHARACTERS: Final = 1_024


class PagerDuty:
    """Opens and resolves PagerDuty's incident under the id of ours, so a repeat changes nothing."""

    def __init__(self, web: Web, routing_key: Secret, api: str = API) -> None:
        self._web, self._key, self._api = web, routing_key, api

    def send(self, notice: Notice, delivery: Delivery) -> None:
        # A test must leave nobody paged.
        actions = ("trigger", "resolve") if notice.kind == "test" else (_action(notice),)
        for action in actions:
            event = pagerduty_event(notice, action) | {"routing_key": self._key.reveal()}
            answer = self._web.post("PagerDuty", self._api, json.dumps(event).encode(), {})
            refuse_status("PagerDuty", answer)


def _action(notice: Notice) -> str:
    return "resolve" if notice.is_good_news else "trigger"


def pagerduty_event(notice: Notice, action: str) -> dict[str, Any]:
    """Return the event without its key."""
    event: dict[str, Any] = {"event_action": action, "dedup_key": notice.incident}
    if action == "resolve":
        return event
    links = [("Open in taximeter", notice.link), *((e.text, e.link) for e in notice.examples)]
    return event | {
        "client": "taximeter",
        **({"client_url": notice.link} if notice.link else {}),
        "links": [{"href": url, "text": text} for text, url in links if url],
        "payload": {
            "summary": _summary(notice)[:_MOST_CHARACTERS],
            "source": " / ".join(notice.labels.values()) or "taximeter",
            "severity": notice.severity,
            "group": notice.rule,
            "custom_details": {
                "cause": list(notice.details),
                "also": list(notice.also),
                "rule": notice.rule,
                "since": notice.started,
                **notice.labels,
            },
        },
    }


def _summary(notice: Notice) -> str:
    """Return the line that is read out: an alert's sentence says whom and what it is about."""
    is_alert = notice.started is not None
    return notice.sentence if is_alert else f"{notice.title}: {notice.sentence}"

"""Microsoft Teams: a notice in, an Adaptive Card out, to the URL of a Workflow."""

from __future__ import annotations

import json
from typing import Any, Final

from taximeter.settings.secret import Secret
from taximeter_alerts.notifiers.web import Web, refuse_status
from taximeter_alerts.outbox.delivery import Delivery
from taximeter_alerts.outbox.notice import Notice

_MOST_CHARACTERS: Final = 4_000  # a card has at most 28 KB
_MOST_ALSO: Final = 3


class Teams:
    """Posts to one Workflow address, which is a secret. A Workflow can't answer in a thread."""

    def __init__(self, web: Web, url: Secret) -> None:
        self._web, self._url = web, url

    def send(self, notice: Notice, delivery: Delivery) -> None:
        card = teams_message(notice, is_possible_repeat=delivery.is_possible_repeat)
        answer = self._web.post("Teams", self._url.reveal(), json.dumps(card).encode(), {})
        refuse_status("Teams", answer)


def teams_message(notice: Notice, *, is_possible_repeat: bool = False) -> dict[str, Any]:
    """Return the body of the request. Text runs know no markdown, so nothing needs escaping."""
    repeat = " (possible repeat)" if is_possible_repeat else ""
    colour = "Good" if notice.is_good_news else "Attention"
    if notice.is_report:
        colour = "Default"
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": [
            _text(f"{notice.headline}{repeat}", weight="Bolder", color=colour),
            _text(notice.sentence),
            *(_text(line) for line in (*notice.cause, notice.pace) if line),
            *([_text(f"First: {notice.first}", weight="Bolder")] if notice.first else []),
            *(_text(sentence) for sentence in notice.also[:_MOST_ALSO]),
            *([_text(" · ".join(notice.facts), isSubtle=True)] if notice.facts else []),
        ],
    }
    links = [("Open in taximeter", notice.link), *((e.text, e.link) for e in notice.examples)]
    actions = [{"type": "Action.OpenUrl", "title": text, "url": url} for text, url in links if url]
    if actions:
        card["actions"] = actions
    return {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": None,
                "content": card,
            }
        ],
    }


def _text(text: str, **look: object) -> dict[str, Any]:
    run = {"type": "TextRun", "text": text[:_MOST_CHARACTERS], **look}
    return {"type": "RichTextBlock", "inlines": [run]}

"""Slack: a notice in, a Block Kit message out, by an incoming webhook or by a bot.

A webhook can only post. A bot answers in the incident's thread, keeps its first message up to
date, and asks whether a message arrived before it sends it again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode

from taximeter.settings.secret import Secret
from taximeter_alerts.judge.past_day import sparkline
from taximeter_alerts.notifiers.web import Answer, Web, refuse_status
from taximeter_alerts.outbox.delivery import Delivery, NotificationError
from taximeter_alerts.outbox.notice import FIRST, Notice

API: Final = "https://slack.com/api"
EVENT: Final = "taximeter_notice"
_MOST_CHARACTERS: Final = 2_900  # Slack refuses a section above 3,000
_MOST_ALSO: Final = 10
_LOOK_BACK: Final = 100
_SIGNS: Final = {"critical": "🔴", "warning": "🟠", "info": "🔵"}
_PASSING: Final = frozenset(
    {"ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)
"""Errors of the Web API that go away by themselves."""


class SlackWebhook:
    """Posts to one webhook address, which is a secret."""

    def __init__(self, web: Web, url: Secret) -> None:
        self._web, self._url = web, url

    def send(self, notice: Notice, delivery: Delivery) -> None:
        message = slack_message(notice, is_possible_repeat=delivery.is_possible_repeat)
        answer = self._web.post("Slack", self._url.reveal(), json.dumps(message).encode(), {})
        refuse_status("Slack", answer, _word(answer.body.decode(errors="replace")))


class SlackBot:
    """Posts to one channel with a bot token (scopes chat:write and channels:history)."""

    def __init__(self, web: Web, token: Secret, channel: str, api: str = API) -> None:
        self._web, self._token, self._channel, self._api = web, token, channel, api

    def send(self, notice: Notice, delivery: Delivery) -> str | None:
        thread = None if notice.kind in FIRST else delivery.thread
        if thread is not None:
            self._update_first(thread, notice)
        found, is_known = None, True
        if delivery.is_possible_repeat:
            found, is_known = self._find(delivery.key, thread)
        if found is None:
            # What it was stands above, in the first message.
            told = replace(notice, cause=()) if thread and notice.is_good_news else notice
            message = slack_message(told, is_possible_repeat=not is_known)
            message |= {"channel": self._channel, "metadata": _metadata(delivery.key)}
            if thread is not None:
                message |= {"thread_ts": thread}
            found = str(self._call("chat.postMessage", message).get("ts"))
        return found if thread is None else None

    def _update_first(self, thread: str, notice: Notice) -> None:
        """Make the first message say how things stand now; that it can't is no reason to stop."""
        message = slack_message(notice)
        message |= {"channel": self._channel, "ts": thread}
        try:
            self._call("chat.update", message)
        except NotificationError as error:
            if not error.is_permanent:
                raise

    def _find(self, key: str, thread: str | None) -> tuple[str | None, bool]:
        """Return the message with this key, if there is one, and whether that could be found out."""
        method = "conversations.history" if thread is None else "conversations.replies"
        asked: dict[str, Any] = {
            "channel": self._channel, "include_all_metadata": "true", "limit": _LOOK_BACK
        }  # fmt: skip
        if thread is not None:
            asked["ts"] = thread
        try:
            messages = self._call(method, asked, is_form=True).get("messages", [])
        except NotificationError as error:
            if not error.is_permanent:
                raise
            return None, False  # no scope to read
        for message in messages:
            payload = (message.get("metadata") or {}).get("event_payload") or {}
            if payload.get("key") == key:
                return str(message.get("ts")), True
        return None, True

    def _call(
        self, method: str, asked: Mapping[str, Any], *, is_form: bool = False
    ) -> Mapping[str, Any]:
        headers = {"Authorization": f"Bearer {self._token.reveal()}"}
        body = json.dumps(asked).encode()
        if is_form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(asked).encode()
        answer: Answer = self._web.post("Slack", f"{self._api}/{method}", body, headers)
        refuse_status("Slack", answer)
        said = answer.json()
        if said.get("ok") is not True:
            word = _word(str(said.get("error"))) or "something that is not its API's"
            raise NotificationError(
                f"Slack answered {word} to {method}", is_permanent=word not in _PASSING
            )
        return said


def slack_message(notice: Notice, *, is_possible_repeat: bool = False) -> dict[str, Any]:
    """Return the body of the request; `text` is what notifications and old clients show."""
    sign = "✅" if notice.is_good_news else _SIGNS.get(notice.severity, "🔵")
    headline = f"{sign} {notice.headline}"
    if is_possible_repeat:
        headline += " (possible repeat)"
    sentence = _cut(escape(notice.sentence))
    facts = [escape(fact) for fact in notice.facts]
    if facts:
        facts[0] = f"rule `{facts[0]}`"
    if notice.link:
        # A link in text: a button would show a warning without an interactivity endpoint.
        facts.append(f"<{escape(notice.link)}|Open in taximeter>")
    blocks: list[dict[str, Any]] = [_section(f"*{_cut(escape(headline))}*"), _section(sentence)]
    details = [f"• {escape(line)}" for line in (*notice.cause, notice.pace) if line]
    if notice.first:
        details.append(f"• *First:* {escape(notice.first)}")
    if notice.examples:
        shown = (
            f"<{escape(e.link)}|{escape(e.text)}>" if e.link else escape(e.text)
            for e in notice.examples
        )
        details.append(f"• Examples: {' · '.join(shown)}")
    if details:
        blocks.append(_section(_cut("\n".join(details))))
    if notice.also:
        blocks.append(_section(_cut("\n".join(f"• {escape(s)}" for s in notice.also[:_MOST_ALSO]))))
    if notice.chart is not None:
        facts.insert(0, f"24 h `{sparkline(notice.chart.values)}`")
    if facts:
        context = {"type": "mrkdwn", "text": " · ".join(facts), "verbatim": True}
        blocks.append({"type": "context", "elements": [context]})
    return {
        "text": f"{escape(headline)}\n{sentence}",
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": blocks,
    }


def escape(text: str) -> str:
    """Return text that Slack shows as it is.

    >>> escape("<!channel> & co")
    '&lt;!channel&gt; &amp; co'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(escaped: str) -> str:
    """Return at most what a section holds, without half an entity at its end."""
    if len(escaped) <= _MOST_CHARACTERS:
        return escaped
    return re.sub(r"&[a-z]{0,3}$", "", escaped[:_MOST_CHARACTERS]) + "…"


def _word(text: str) -> str:
    """Return what Slack says if it is one of its error words; anything else could be anything."""
    return text if re.fullmatch(r"[a-z_]{1,60}", text) else ""


def _metadata(key: str) -> dict[str, Any]:
    return {"event_type": EVENT, "event_payload": {"key": key}}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}

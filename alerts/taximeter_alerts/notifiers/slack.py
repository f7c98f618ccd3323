"""Slack incoming webhook: a notice in, a Block Kit message out. A webhook can't edit or thread."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from taximeter.secret import Secret
from taximeter_alerts.notice import Notice
from taximeter_alerts.notifiers.base import NotificationError, is_permanent_status

TIMEOUT_S: Final = 10.0
_MOST_CHARACTERS: Final = 2_900  # Slack refuses a section above 3,000
_SIGNS: Final = {"critical": "🔴", "warning": "🟠", "info": "🔵"}


class SlackNotifier:
    """Posts to one webhook address, which is a secret."""

    def __init__(self, url: Secret) -> None:
        self._url = url

    def send(self, notice: Notice, key: str, *, is_possible_repeat: bool) -> None:
        try:
            answer = httpx.post(
                self._url.reveal(),
                json=slack_message(notice, is_possible_repeat=is_possible_repeat),
                timeout=TIMEOUT_S,
                follow_redirects=False,
            )
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise NotificationError(
                "the Slack webhook address is not an http address", is_permanent=True
            ) from None
        except httpx.HTTPError as error:
            # The exception's text may hold the address, which is a secret.
            raise NotificationError(
                f"Slack was not reached ({type(error).__name__})", is_permanent=False
            ) from None
        if answer.status_code != 200:
            raise NotificationError(
                f"Slack answered {answer.status_code}: {answer.text[:100]}",
                is_permanent=is_permanent_status(answer.status_code),
                retry_after_s=retry_after(answer.headers.get("Retry-After"), datetime.now(UTC)),
            )


def slack_message(notice: Notice, *, is_possible_repeat: bool = False) -> dict[str, Any]:
    """Return the body of the request; `text` is what notifications and old clients show."""
    sign = "✅" if notice.is_good_news else _SIGNS.get(notice.severity, "🔵")
    headline = f"{sign} {notice.headline}"
    if is_possible_repeat:
        headline += " (possible repeat)"
    sentence = escape(notice.sentence)[:_MOST_CHARACTERS]
    facts = [f"rule `{escape(notice.rule)}`", escape(notice.severity)]
    if notice.started:
        facts.append(f"since {escape(notice.started)}")
    if notice.link:
        # A link in text: a button would show a warning without an interactivity endpoint.
        facts.append(f"<{escape(notice.link)}|Open in taximeter>")
    return {
        "text": f"{escape(headline)}\n{sentence}",
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            _section(f"*{escape(headline)[:_MOST_CHARACTERS]}*"),
            _section(sentence),
            {"type": "context", "elements": [{"type": "mrkdwn", "text": " · ".join(facts)}]},
        ],
    }


def escape(text: str) -> str:
    """Return text that Slack shows as it is.

    >>> escape("<!channel> & co")
    '&lt;!channel&gt; &amp; co'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def retry_after(header: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for: a number or a date."""
    if not header:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - now).total_seconds())
    except (TypeError, ValueError):
        return None


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}

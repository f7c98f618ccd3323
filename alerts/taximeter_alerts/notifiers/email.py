"""Email over SMTP: a notice in, a text-and-HTML message out, threaded by incident."""

from __future__ import annotations

import html
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate
from typing import Final

from taximeter_alerts.judge.past_day import sparkline
from taximeter_alerts.notifiers.unreached import why_unreached
from taximeter_alerts.outbox.delivery import Delivery, NotificationError
from taximeter_alerts.outbox.notice import FIRST, Example, Notice
from taximeter_alerts.rules.book import MailServer, short_digest

TIMEOUT_S: Final = 20.0
_DOMAIN: Final = "taximeter.invalid"
_PICTURE: Final = "chart@taximeter.invalid"
_CAPTION: Final = "The last 24 hours; the band is the usual range."
_COLOURS: Final = {"critical": "#c0362c", "warning": "#b45309"}


class EmailNotifier:
    """Sends to a list of addresses through one mail server."""

    def __init__(self, server: MailServer, to: tuple[str, ...]) -> None:
        self._server = server
        self._to = to

    def send(self, notice: Notice, delivery: Delivery) -> None:
        # A repeat has the same Message-ID: the receiving side drops it, so nothing is said of it.
        message = mail_message(notice, delivery.key, self._server.sender, self._to)
        try:
            with self._connect() as smtp:
                smtp.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            raise NotificationError(
                f"the mail server refused the address ({max(codes)})",
                is_permanent=all(code >= 500 for code in codes),
            ) from None
        except smtplib.SMTPResponseException as error:
            raise NotificationError(
                f"the mail server answered {error.smtp_code}",
                is_permanent=error.smtp_code >= 500,
            ) from None
        except smtplib.SMTPNotSupportedError as error:
            raise NotificationError(
                f"the mail server cannot do this: {error}", is_permanent=True
            ) from None
        except (OSError, smtplib.SMTPException) as error:
            raise NotificationError(
                f"mail server {self._server.host}:{self._server.port} was not reached:"
                f" {why_unreached(error)}",
                is_permanent=False,
            ) from None

    def _connect(self) -> smtplib.SMTP:
        server = self._server
        if server.tls == "tls":
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, timeout=TIMEOUT_S, context=ssl.create_default_context()
            )
        else:
            smtp = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)
        try:
            if server.tls == "starttls":
                smtp.starttls(context=ssl.create_default_context())
            if server.username is not None and server.password is not None:
                smtp.login(server.username.reveal(), server.password.reveal())
        except BaseException:
            smtp.close()
            raise
        return smtp


def mail_message(notice: Notice, key: str, sender: str, to: tuple[str, ...]) -> EmailMessage:
    """Return the message; its Message-ID depends on the key alone."""
    message = EmailMessage()
    message["Subject"] = f"[taximeter] {notice.headline}".replace("\n", " ").replace("\r", " ")
    message["From"] = sender
    message["To"] = ", ".join(to)
    message["Date"] = formatdate(localtime=False)
    message["Auto-Submitted"] = "auto-generated"
    first = f"<{notice.incident}@{_DOMAIN}>"
    if notice.kind in FIRST:
        message["Message-ID"] = first
    else:
        message["Message-ID"] = f"<{short_digest(key)}.{notice.incident}@{_DOMAIN}>"
        # What follows is a reply to the first message, so that they are seen together.
        message["In-Reply-To"] = first
        message["References"] = first
    message.set_content(notice_text(notice))
    picture = _picture(notice)
    message.add_alternative(_html(notice, has_picture=picture is not None), subtype="html")
    if picture is not None:
        page = message.get_payload()[-1]  # type: ignore[index]
        assert isinstance(page, EmailMessage)
        page.add_related(
            picture, "image", "png", cid=f"<{_PICTURE}>", filename="chart.png", disposition="inline"
        )
    return message


def _picture(notice: Notice) -> bytes | None:
    """Return the chart, None if there is none or nothing to draw it with."""
    if notice.chart is None:
        return None
    try:
        from taximeter_alerts.notifiers.picture import draw_chart
    except ImportError:
        return None
    return draw_chart(notice.chart)


def _facts(notice: Notice) -> str:
    return f"Rule {', '.join(notice.facts)}." if notice.facts else ""


def notice_text(notice: Notice) -> str:
    """Return a notice as plain text."""
    also = [line for sentence in notice.also for line in ("", sentence)]
    day = [f"Last 24 h: {sparkline(notice.chart.values)}", ""] if notice.chart else []
    details = [*notice.details, *(f"Example: {e.text} {e.link or ''}" for e in notice.examples)]
    told = [f"- {detail.strip()}" for detail in details]
    told = ["", *told] if told else []
    lines = [notice.headline, "", notice.sentence, *told, *also, ""]
    lines += [*day, *([_facts(notice)] if notice.facts else [])]
    return "\n".join([*lines, *([notice.link] if notice.link else [])]) + "\n"


def _html(notice: Notice, *, has_picture: bool) -> str:
    colour = _COLOURS.get(notice.severity, "#333")
    if notice.is_good_news or notice.is_report:
        colour = "#1a7f37" if notice.is_good_news else "#333"
    link = (
        f'<p><a href="{html.escape(notice.link)}">Open in taximeter</a></p>' if notice.link else ""
    )
    picture = (
        f'<p><img src="cid:{_PICTURE}" width="640" height="180" alt="{_CAPTION}">'
        f'<br><span style="color:#666;font-size:0.85em">{_CAPTION}</span></p>'
        if has_picture
        else ""
    )
    also = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in notice.also)
    told = (*notice.cause, notice.pace)
    shown = "".join(f"<li>{html.escape(line)}</li>" for line in told if line)
    if notice.first:
        shown += f"<li><b>First:</b> {html.escape(notice.first)}</li>"
    shown += "".join(f"<li>Example: {_anchor(e)}</li>" for e in notice.examples)
    details = f"<ul>{shown}</ul>" if shown else ""
    facts = f'<p style="color:#666">{html.escape(_facts(notice))}</p>' if notice.facts else ""
    return (
        '<div style="font-family:sans-serif;max-width:40em">'
        f'<p style="font-size:1.1em;color:{colour}"><b>{html.escape(notice.headline)}</b></p>'
        f"<p>{html.escape(notice.sentence)}</p>{details}{link}{also}"
        f"{picture}{facts}</div>"
    )


def _anchor(example: Example) -> str:
    text = html.escape(example.text)
    return f'<a href="{html.escape(example.link)}">{text}</a>' if example.link else text

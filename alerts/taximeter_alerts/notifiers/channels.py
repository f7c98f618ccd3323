"""Receivers in, their channels out."""

from __future__ import annotations

from taximeter.settings.secret import Secret
from taximeter_alerts.notifiers.apprise import Apprise
from taximeter_alerts.notifiers.email import EmailNotifier
from taximeter_alerts.notifiers.pagerduty import PagerDuty
from taximeter_alerts.notifiers.slack import SlackBot, SlackWebhook
from taximeter_alerts.notifiers.teams import Teams
from taximeter_alerts.notifiers.web import Web
from taximeter_alerts.notifiers.webhook import Webhook
from taximeter_alerts.outbox.delivery import Notifier
from taximeter_alerts.rules.book import Receiver, RuleBook


def notifiers_of(book: RuleBook) -> dict[str, Notifier]:
    """Return the channel of each receiver."""
    web = Web(book.allow_networks)
    return {receiver.name: _notifier(receiver, book, web) for receiver in book.receivers}


def _notifier(receiver: Receiver, book: RuleBook, web: Web) -> Notifier:
    address = receiver.address or Secret("")
    match receiver.channel:
        case "slack":
            return SlackWebhook(web, address)
        case "slack_bot":
            return SlackBot(web, address, receiver.to[0])
        case "email":
            return EmailNotifier(book.mail, receiver.to)
        case "webhook":
            return Webhook(web, address, receiver.signing_key)
        case "pagerduty":
            return PagerDuty(web, address)
        case "teams":
            return Teams(web, address)
        case "apprise":
            return Apprise(address)

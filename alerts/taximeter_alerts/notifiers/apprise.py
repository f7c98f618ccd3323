"""Everything else: a notice in, a plain text through the apprise library out (extra `apprise`)."""

from __future__ import annotations

import logging

from taximeter.settings.secret import Secret
from taximeter_alerts.outbox.delivery import Delivery, NotificationError
from taximeter_alerts.outbox.notice import Notice


class Apprise:
    """Sends to one apprise URL, which is a secret."""

    def __init__(self, url: Secret) -> None:
        self._url = url

    def send(self, notice: Notice, delivery: Delivery) -> None:
        try:
            import apprise
        except ImportError:
            raise NotificationError(
                'apprise is not installed: pip install "taximeter[apprise]"', is_permanent=True
            ) from None
        # Its log lines may hold the address.
        logging.getLogger("apprise").setLevel(logging.CRITICAL)
        sender = apprise.Apprise()
        if not sender.add(self._url.reveal()):
            raise NotificationError("apprise does not know this kind of URL", is_permanent=True)
        kinds = apprise.NotifyType
        level = kinds.SUCCESS if notice.is_good_news else kinds.WARNING
        if notice.is_report:
            level = kinds.INFO
        repeat = " (possible repeat)" if delivery.is_possible_repeat else ""
        examples = [f"Example: {e.text} {e.link or ''}".strip() for e in notice.examples]
        is_sent = sender.notify(
            title=f"[taximeter] {notice.headline}{repeat}",
            body="\n\n".join(
                [notice.sentence, *notice.details, *examples, *notice.also, notice.link or ""]
            ).strip(),
            notify_type=level,
            body_format=apprise.NotifyFormat.TEXT,
        )
        if not is_sent:
            # It tells no reason.
            raise NotificationError("apprise could not deliver", is_permanent=False)

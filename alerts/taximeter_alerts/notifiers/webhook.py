"""A generic webhook: a notice in, a signed JSON request out (standardwebhooks.com, version 1)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

from taximeter.settings.secret import Secret
from taximeter_alerts.notifiers.web import Web, refuse_status
from taximeter_alerts.outbox.delivery import Delivery
from taximeter_alerts.outbox.notice import Notice


class Webhook:
    """Posts to one URL; with a key, every request is signed."""

    def __init__(
        self, web: Web, url: Secret, key: Secret | None, now: Callable[[], float] = time.time
    ) -> None:
        self._web, self._url, self._key, self._now = web, url, key, now

    def send(self, notice: Notice, delivery: Delivery) -> None:
        body = json.dumps(webhook_body(notice, delivery.key), ensure_ascii=False).encode()
        moment = str(int(self._now()))
        headers = {
            "Idempotency-Key": delivery.key,
            "webhook-id": delivery.key,
            "webhook-timestamp": moment,
        }
        if self._key is not None:
            headers["webhook-signature"] = signature(self._key, delivery.key, moment, body)
        refuse_status(
            "the webhook", self._web.post("the webhook", self._url.reveal(), body, headers)
        )


def webhook_body(notice: Notice, key: str) -> dict[str, Any]:
    """Return the request's JSON; fields are only ever added."""
    return {
        "version": 1,
        "id": key,
        "kind": notice.kind,
        "incident": notice.incident,
        "rule": notice.rule,
        "severity": notice.severity,
        "title": notice.title,
        "sentence": notice.sentence,
        "also": list(notice.also),
        "labels": dict(notice.labels),
        "started": notice.started,
        "at": notice.at,
        "link": notice.link,
        "cause": list(notice.cause),
        "usd_per_hour": notice.usd_per_hour,
        "first": notice.first,
        "examples": [{"text": e.text, "link": e.link} for e in notice.examples],
    }


def signature(key: Secret, id: str, moment: str, body: bytes) -> str:
    """Return the signature header's value over id, timestamp and body."""
    signed = b".".join((id.encode(), moment.encode(), body))
    digest = hmac.new(_key_bytes(key.reveal()), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _key_bytes(text: str) -> bytes:
    if text.startswith("whsec_"):
        try:
            return base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            pass
    return text.encode()

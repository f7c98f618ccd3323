"""The seam between the outbox and a channel, and what counts as worth another try."""

from __future__ import annotations

from typing import Final, Protocol

from taximeter_alerts.notice import Notice

RETRYABLE_STATUS: Final = frozenset({408, 425, 429})


class NotificationError(Exception):
    """A notice that was not delivered; its message never holds a secret."""

    def __init__(
        self, message: str, *, is_permanent: bool, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent
        self.retry_after_s = retry_after_s


class Notifier(Protocol):
    """One receiver's channel."""

    def send(self, notice: Notice, key: str, *, is_possible_repeat: bool) -> None:
        """Deliver a notice. `key` is the same on every try. Raises NotificationError."""


def is_permanent_status(status: int) -> bool:
    """Return whether sending the same again is pointless.

    >>> is_permanent_status(404), is_permanent_status(429), is_permanent_status(503)
    (True, False, False)
    """
    return status < 500 and status not in RETRYABLE_STATUS

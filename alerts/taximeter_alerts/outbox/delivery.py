"""The seam between the outbox and a channel, and what counts as worth another try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from taximeter_alerts.outbox.notice import Notice

RETRYABLE_STATUS: Final = frozenset({408, 425, 429})


class NotificationError(Exception):
    """A notice that was not delivered; its message never holds a secret."""

    def __init__(
        self,
        message: str,
        *,
        is_permanent: bool,
        retry_after_s: float | None = None,
        is_unknown: bool = False,
    ) -> None:
        """`is_unknown`: no answer came, so it may have arrived all the same."""
        super().__init__(message)
        self.is_permanent = is_permanent
        self.retry_after_s = retry_after_s
        self.is_unknown = is_unknown


@dataclass(frozen=True, slots=True)
class Delivery:
    """What belongs to one delivery beside the notice."""

    key: str
    """The same on every try."""
    thread: str | None = None
    """What `send` returned for the incident's first message."""
    is_possible_repeat: bool = False
    """An earlier try may have arrived."""


class Notifier(Protocol):
    """One receiver's channel."""

    def send(self, notice: Notice, delivery: Delivery) -> str | None:
        """Deliver a notice; return the channel's name of a first message, to answer to it later.

        Raises NotificationError.
        """


def is_permanent_status(status: int) -> bool:
    """Return whether sending the same again is pointless.

    >>> is_permanent_status(404), is_permanent_status(429), is_permanent_status(503)
    (True, False, False)
    """
    return status < 500 and status not in RETRYABLE_STATUS

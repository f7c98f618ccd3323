"""What the sessions of this process have used, for as long as they are remembered."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from taximeter.runs.current import Session
from taximeter.runs.limits import Limits

REMEMBERED: Final = 10_000
"""Sessions; of more, those that were used last."""
FORGET_AFTER_S: Final = 24 * 3_600.0
"""Without a request."""


@dataclass(slots=True)
class Sessions:
    """The sessions that are remembered, the last used last."""

    _known: OrderedDict[str, tuple[Session, float]] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def get(self, session_id: str, limits: Limits) -> Session:
        """Return the session with these limits, new where it is not remembered."""
        with self._lock:
            found = self._known.pop(session_id, None)
            session = found[0] if found is not None else Session(session_id, limits)
            now = session.clock()
            if found is not None and now - found[1] >= FORGET_AFTER_S:
                session = Session(session_id, limits)
            session.limits = limits
            self._known[session_id] = (session, now)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return session


sessions: Final = Sessions()

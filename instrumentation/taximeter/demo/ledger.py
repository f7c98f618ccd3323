"""The fake API's own books: what it served, by model, so that telemetry can be checked against it."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from taximeter.demo.answers import Answer, Api
from taximeter.demo.replies import Tokens

RECENT: Final = 1000


@dataclass(frozen=True, slots=True)
class Served:
    """One answer that was handed out in full, with its usage."""

    api: Api
    model: str
    tier: str
    is_batch: bool
    is_stream: bool
    response_id: str
    tokens: Tokens


class Ledger:
    """Sums of served usage by (api, model, tier, batch), and of failed attempts by status."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[tuple[str, str, str, bool]] = Counter()
        self._tokens: dict[tuple[str, str, str, bool], Counter[str]] = {}
        self._failures: Counter[int] = Counter()
        self._recent: deque[Served] = deque(maxlen=RECENT)

    def record(self, api: Api, answer: Answer, *, is_stream: bool, is_batch: bool = False) -> None:
        """Book one answer."""
        key = (api, answer.model, answer.tier, is_batch)
        served = Served(
            api, answer.model, answer.tier, is_batch, is_stream, answer.response_id, answer.tokens
        )
        with self._lock:
            self._calls[key] += 1
            self._tokens.setdefault(key, Counter()).update(asdict(answer.tokens))
            self._recent.append(served)

    def record_failure(self, status: int) -> None:
        """Book one failed attempt; status 0 is one that was never answered."""
        with self._lock:
            self._failures[status] += 1

    @property
    def recent(self) -> list[Served]:
        """Return the last answers, oldest first."""
        with self._lock:
            return list(self._recent)

    def totals(self) -> Tokens:
        """Return the sum of all served usage."""
        with self._lock:
            total = sum(self._tokens.values(), Counter[str]())
        return Tokens(**{item.name: total[item.name] for item in fields(Tokens)})

    def calls(self) -> int:
        """Return how many answers were served."""
        with self._lock:
            return self._calls.total()

    def as_json(self) -> Mapping[str, Any]:
        """Return the books as plain data: rows by model, and failures by status."""
        with self._lock:
            rows = [
                {
                    "api": api,
                    "model": model,
                    "tier": tier,
                    "batch": is_batch,
                    "calls": count,
                    **self._tokens[api, model, tier, is_batch],
                }
                for (api, model, tier, is_batch), count in sorted(self._calls.items())
            ]
            failures = {str(status): n for status, n in sorted(self._failures.items())}
        return {"served": rows, "failures": failures}

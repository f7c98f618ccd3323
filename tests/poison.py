"""A commit that can't be derived, whatever is tried."""

from __future__ import annotations

import duckdb
import pytest
from tests.patience import wait_until

from taximeter_collector.derive import derive
from taximeter_collector.derive.deriver import Deriver
from taximeter_collector.prices import PriceBook
from taximeter_collector.store.store import Store


def follow_past_poison(
    store: Store, monkeypatch: pytest.MonkeyPatch, *, poisoned: int, commits: int
) -> Deriver:
    """Follow so many commits, one of them poisoned; return the follower, closed."""
    real = derive._derive_touched

    def ill(
        cursor: duckdb.DuckDBPyConnection,
        prices: PriceBook,
        after: int,
        last: int,
        since: derive.SpansSince,
    ) -> None:
        if after < poisoned <= last:
            raise duckdb.InvalidInputException("poison")
        real(cursor, prices, after, last, since)

    monkeypatch.setattr(derive, "_derive_touched", ill)
    deriver = Deriver(store, settle_s=0.01)
    wait_until(lambda: deriver.data_version >= commits, "following past the poison")
    deriver.close()
    return deriver

"""One store for all tests of a process: making one costs half a second, emptying it nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.telemetry import wipe

from taximeter_collector.store.store import Store


@pytest.fixture(scope="session")
def session_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("store"))
    yield store
    store.close()


@pytest.fixture
def store(session_store: Store) -> Store:
    """Return an empty store; a test that changes its rules or prices makes one of its own."""
    wipe(session_store)
    return session_store

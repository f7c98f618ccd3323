from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rollups.telemetry import wipe

from taximeter_collector.store import Store


@pytest.fixture(scope="session")
def _one_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(Path(tmp_path_factory.mktemp("rollups")))
    yield store
    store.close()


@pytest.fixture
def store(_one_store: Store) -> Store:
    """Return an empty store."""
    wipe(_one_store)
    return _one_store

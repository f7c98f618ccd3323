"""Anthropic message batches of the fake API: created, ended at once, results as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any


@dataclass(frozen=True, slots=True)
class _Batch:
    id: str
    created: datetime
    results: Sequence[Mapping[str, Any]]


@dataclass(slots=True)
class MessageBatches:
    """The batches created so far, by id."""

    by_id: dict[str, _Batch] = field(default_factory=dict)

    def create(self, results: Sequence[Mapping[str, Any]]) -> str:
        """Store the result rows (`custom_id`, `result`) of a new batch and return its id."""
        batch = _Batch(f"msgbatch_01{token_hex(10)}", datetime.now(UTC), results)
        self.by_id[batch.id] = batch
        return batch.id

    def describe(self, batch_id: str, base_url: str) -> dict[str, Any] | None:
        """Return the MessageBatch object, or None when there is no such batch."""
        batch = self.by_id.get(batch_id)
        if batch is None:
            return None
        counts = {"processing": 0, "canceled": 0, "expired": 0, "errored": 0}
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended",
            "request_counts": {**counts, "succeeded": len(batch.results)},
            "created_at": batch.created.isoformat(),
            "ended_at": batch.created.isoformat(),
            "expires_at": (batch.created + timedelta(hours=24)).isoformat(),
            "results_url": f"{base_url}/v1/messages/batches/{batch.id}/results",
            "archived_at": None,
            "cancel_initiated_at": None,
        }

    def result_lines(self, batch_id: str) -> bytes | None:
        """Return the results as JSON lines, or None when there is no such batch."""
        batch = self.by_id.get(batch_id)
        if batch is None:
            return None
        return b"".join(json.dumps(row).encode() + b"\n" for row in batch.results)

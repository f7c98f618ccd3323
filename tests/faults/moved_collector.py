"""A collector whose days are those of TAXIMETER_TEST_DAYS from now, and which deletes old days at once.

`python -m tests.faults.moved_collector`, settings by the environment as ever.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from taximeter_collector.__main__ import main
from taximeter_collector.ingest.ingest import Ingest
from taximeter_collector.retention.retention import Retention

GRACE_S = 0.3


def _move(days: int) -> None:
    def now() -> datetime:
        return datetime.now(UTC) + timedelta(days=days)

    defaults: dict[str, Any] = {"now": now, "grace_s": GRACE_S}
    for part in (Ingest, Retention):
        own = part.__init__.__kwdefaults__ or {}
        own |= {name: value for name, value in defaults.items() if name in own}


if __name__ == "__main__":
    _move(int(os.environ.get("TAXIMETER_TEST_DAYS", "0")))
    sys.argv = sys.argv[:1]
    sys.exit(main())

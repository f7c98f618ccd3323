"""`python -m taximeter_collector.prices.snapshot` writes the price snapshot that the shim ships."""

from __future__ import annotations

import gzip
import json
from importlib import resources
from pathlib import Path

from taximeter_collector.prices.derive import derive_snapshot


def main() -> None:
    """Derive from the installed price library and write the package file."""
    text = json.dumps(derive_snapshot(), separators=(",", ":"))
    target = Path(str(resources.files("taximeter.pricing").joinpath("snapshot.json.gz")))
    target.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{target.name}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

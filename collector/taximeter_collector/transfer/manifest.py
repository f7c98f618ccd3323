"""`manifest.json`: what a backup or an export holds, so that a part that is missing is noticed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from taximeter_collector.store.migrations import FORMAT

NAME: Final = "manifest.json"
Kind = Literal["backup", "export"]
_A: Final[dict[Kind, str]] = {"backup": "a backup", "export": "an export"}


class NotUsable(Exception):
    """The directory can't be used for what was asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Kind, the version of the tables, and by file the rows of each table in it."""

    kind: Kind
    made_at: str
    """UTC, ISO 8601."""
    rows: dict[str, dict[str, int]]
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Write it beside the files that it describes."""
        (folder / NAME).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @property
    def total(self) -> dict[str, int]:
        """Rows by table."""
        found: dict[str, int] = {}
        for tables in self.rows.values():
            for table, rows in tables.items():
                found[table] = found.get(table, 0) + rows
        return found


def read_manifest(folder: Path, kind: Kind) -> Manifest:
    """Return what ``folder`` holds. Raises NotUsable when that is no whole ``kind``."""
    try:
        manifest = Manifest(**json.loads((folder / NAME).read_text(encoding="utf-8")))
        files = list(manifest.rows)
    except (OSError, ValueError, TypeError, AttributeError):
        raise NotUsable(
            f"{folder} is no whole {kind}: it has no readable {NAME}. Name a directory that"
            f" `taximeter {kind}` has written."
        ) from None
    if manifest.kind != kind:
        raise NotUsable(
            f"{folder} holds {_A.get(manifest.kind, 'something else')}, not {_A[kind]}."
        )
    if manifest.format > FORMAT:
        raise NotUsable(
            f"{folder} has format {manifest.format}, this release reads up to {FORMAT}: use the"
            " release that wrote it, or a later one."
        )
    for name in files:
        if Path(name).name != name or not (folder / name).is_file():
            raise NotUsable(f"{folder} lacks {name}: copy all of it, or take another {kind}.")
    return manifest

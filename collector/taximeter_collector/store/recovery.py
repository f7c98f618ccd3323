"""Attaches one data file, whatever state it is in: a damaged log is cut, a damaged file set aside.

Nothing is deleted: what is cut or replaced lies in `DATA_DIR/set_aside/` under a dated name. What each event
means to whoever is woken: docs/operations.md.
"""

from __future__ import annotations

import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import duckdb

from taximeter_collector.store.directory_lock import StoreError, in_use
from taximeter_collector.store.high_water import Mark
from taximeter_collector.store.incidents import Incidents
from taximeter_collector.store.wal import WAL_START, with_new_header

SET_ASIDE: Final = "set_aside"
ATTACH_OPTIONS: Final = "(row_group_size 16384)"
MAX_CUTS: Final = 8
_LOG_NAME: Final = re.compile(r'WAL file "([^"]+)"')
_POSITION: Final = re.compile(r"byte position (\d+)")
_DAMAGED: Final = (
    "Corrupt database file",
    "not a valid DuckDB database file",
    "Could not read enough bytes",
    "Failed to load metadata pointer",
    "Serialization Error",
)
"""What DuckDB says of a file that is damaged, not merely newer, locked or unreadable now."""


class Recovery:
    """Opens the files of one directory over one connection."""

    def __init__(self, data_dir: Path, incidents: Incidents) -> None:
        self._data_dir, self._incidents = data_dir, incidents

    def attach(self, con: duckdb.DuckDBPyConnection, name: str, file: Path, mark: Mark) -> bool:
        """Attach ``file`` as ``name``; False if it had to be set aside.

        ``mark`` is how far it had come. Raises StoreError for what is no damage, duckdb.Error for a
        file that is still in use by this process.
        """
        if file.exists() and not file.stat().st_size:
            file.unlink()  # nothing was written to it: the disk was full
        if not file.exists():
            for log in parts(file):  # of a file that is gone: it would be taken for the new one's
                self.set_aside(log)
        if _wal_bytes(file) and not self._make_readable(con, file, mark):
            return False
        while True:
            try:
                con.execute(f"attach '{quoted(file)}' as {name} {ATTACH_OPTIONS}")
            except duckdb.Error as error:
                if isinstance(error, duckdb.ResourceInUseException) or is_full(error):
                    raise
                if not self._mend(file, str(error)):
                    return False
                continue
            found = stored(con, name)
            if found.batch < mark.batch:
                self._report_behind(file, found, mark)
            return True

    def _make_readable(self, con: duckdb.DuckDBPyConnection, file: Path, mark: Mark) -> bool:
        """Mend a file's log until all of it that is whole is read; False if the file was set aside.

        Opens read-only: DuckDB passes by a log with a header that it does not know, and empties it at
        the next write.
        """
        with _wal(file).open("rb") as log:
            start = log.read(len(WAL_START))
        if start != WAL_START:
            self._replace_header(file, "does not begin like one")
        for _ in range(MAX_CUTS):
            try:
                con.execute(f"attach '{quoted(file)}' as probe (read_only)")
            except duckdb.Error as error:
                if isinstance(error, duckdb.ResourceInUseException) or is_full(error):
                    raise
                if not self._mend(file, str(error)):
                    return False
                if not _wal_bytes(file):
                    return True
                continue
            found = stored(con, "probe")
            con.execute("detach probe")
            if found.batch >= mark.batch or not self._replace_header(file, "was passed by"):
                return True
        self.set_aside_all(file, "its write-ahead log can't be read")
        return False

    def _mend(self, file: Path, error: str) -> bool:
        """Make the file open next time; False if it was set aside instead. Raises StoreError."""
        if "lock on file" in error:
            raise in_use(self._data_dir) from None
        named = _LOG_NAME.search(error)
        if named and (log := file.with_name(Path(named[1]).name)).exists():
            self._cut(file, log, error)
            return True
        if any(text in error for text in _DAMAGED):
            self.set_aside_all(file, error)
            return False
        raise StoreError(f"cannot open {file}: {error.partition(chr(10))[0]}") from None

    def _cut(self, file: Path, wal: Path, error: str) -> None:
        """Cut a copy of the log where DuckDB can't read on; the original is set aside."""
        found, size = _POSITION.search(error), wal.stat().st_size
        if found is None and self._replace_header(file, error):
            return
        position = min(int(found[1]), size) if found else 0
        kept = self.set_aside(wal)
        _write_durably(wal, kept, position)
        self._incidents.report(
            "wal_cut",
            f"The write-ahead log of {file.name} is damaged: {size - position:,} of its {size:,} bytes"
            f" could not be read and were cut; the original is {kept}.",
            file=file.name, cut_bytes=size - position, kept=str(kept), error=error[:300],
        )  # fmt: skip

    def _report_behind(self, file: Path, found: Mark, mark: Mark) -> None:
        lost = max(mark.items - found.items, 0)
        self._incidents.report(
            "file_behind",
            f"{file.name} came back at commit {found.batch:,} and had reached {mark.batch:,}: "
            + (f"{lost:,} spans, log records and data points that it held are not there." if mark.items else
               "what it lacks is derived again from the stored spans.")
            + " Its write-ahead log is missing or was cut, or an older copy was put in its place.",
            file=file.name, lost_items=lost, commit=found.batch, high_water=mark.batch,
        )  # fmt: skip

    def _replace_header(self, file: Path, why: str) -> bool:
        """Give a log the header that this file's logs have; False if it has it already."""
        wal = _wal(file)
        original = wal.read_bytes()
        try:
            mended = with_new_header(file, original, self._data_dir / SET_ASIDE)
        except (duckdb.Error, OSError):
            return False
        if mended == original:
            return False
        kept = self.set_aside(wal)
        wal.write_bytes(mended)
        _sync(wal)
        self._incidents.report(
            "wal_header_replaced",
            f"The header of the write-ahead log of {file.name} is damaged ({why[:200]}) and was made"
            f" again; the original is {kept}.",
            file=file.name, kept=str(kept),
        )  # fmt: skip
        return True

    def set_aside_all(self, file: Path, why: str) -> Path:
        """Set a data file and its logs aside; return where the file is."""
        kept = [self.set_aside(part) for part in parts(file)]
        self._incidents.report(
            "file_set_aside",
            f"{file.name} is damaged and was set aside as {kept[0]}: {why.partition(chr(10))[0][:200]}."
            " What can't be read of it counts no more: look for a backup. `taximeter repair` ends this alarm.",
            file=file.name, kept=[str(part) for part in kept],
        )  # fmt: skip
        return kept[0]

    def set_aside(self, file: Path) -> Path:
        """Move a file to the directory of such files, under a dated name, and return where it is."""
        folder = self._data_dir / SET_ASIDE
        folder.mkdir(exist_ok=True)
        stem = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{file.name}"
        target, number = folder / stem, 1
        while target.exists():
            target, number = folder / f"{stem}.{number}", number + 1
        os.rename(file, target)
        return target


def stored(con: duckdb.DuckDBPyConnection, name: str) -> Mark:
    """Return the last commit in an attached file, and how many items its requests brought."""
    for look in _LOOKS:
        try:
            rows = con.execute(look.format(name=name)).fetchall()
        except duckdb.CatalogException:
            continue
        return Mark(int(rows[0][0]), int(rows[0][1])) if rows else Mark(0)
    return Mark(0)


_LOOKS: Final = (
    "select coalesce(max(batch), 0), coalesce(sum(accepted), 0) from {name}.export_request",
    "select derived_batch, 0 from {name}.progress",
)


def is_full(error: BaseException) -> bool:
    """Return whether the disk has no room, which is no damage."""
    return "No space left" in str(error) or "quota" in str(error)


def parts(file: Path) -> list[Path]:
    """Return a data file and the logs beside it, as far as they exist."""
    return [
        part for part in (file, *sorted(file.parent.glob(f"{file.name}.wal*"))) if part.exists()
    ]


def quoted(path: Path) -> str:
    """Return a path as the inside of an SQL text."""
    return str(path.resolve()).replace("'", "''")


def _wal(file: Path) -> Path:
    return file.with_name(f"{file.name}.wal")


def _wal_bytes(file: Path) -> int:
    wal = _wal(file)
    return wal.stat().st_size if wal.exists() else 0


def _write_durably(target: Path, source: Path, size: int) -> None:
    """Write the first ``size`` bytes of ``source`` to ``target``."""
    shutil.copyfile(source, target)
    os.truncate(target, size)
    _sync(target)


def _sync(file: Path) -> None:
    for path in (file, file.parent):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

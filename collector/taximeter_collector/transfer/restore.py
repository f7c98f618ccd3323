"""A backup becomes the data of a collector that does not run; what was there is set aside, not lost."""

from __future__ import annotations

import shutil
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from taximeter_collector.store.directory_lock import DirectoryLock
from taximeter_collector.store.high_water import FILE_NAME as HIGH_WATER
from taximeter_collector.store.recovery import quoted
from taximeter_collector.transfer.manifest import Manifest, NotUsable, read_manifest


def restore(backup: Path, data_dir: Path, *, force: bool = False) -> Manifest:
    """Copy the files of ``backup`` into ``data_dir``. Raises NotUsable, UnusableStoreError while a
    collector runs there, OSError.

    With ``force`` data files that are there already are moved to ``replaced-<time>/`` first. All is
    copied and counted before anything is replaced.
    """
    manifest = read_manifest(backup, "backup")
    there = sorted([*data_dir.glob("*.duckdb*"), *data_dir.glob(HIGH_WATER)])
    if any(file.suffix == ".duckdb" for file in there) and not force:
        raise NotUsable(
            f"{data_dir} holds data: name an empty directory with --data-dir, or"
            " add --force to set that data aside."
        )
    with closing(DirectoryLock(data_dir)):
        _replace(backup, manifest, data_dir, there)
    return manifest


def _replace(backup: Path, manifest: Manifest, data_dir: Path, there: list[Path]) -> None:
    arriving = data_dir / "restoring"
    shutil.rmtree(arriving, ignore_errors=True)
    arriving.mkdir(parents=True)
    try:
        for name, rows in manifest.rows.items():
            shutil.copyfile(backup / name, arriving / name)
            _check(arriving / name, rows)
        if there:
            aside = data_dir / f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%S}"
            aside.mkdir()
            for file in there:
                file.replace(aside / file.name)
        for name in manifest.rows:
            (arriving / name).replace(data_dir / name)
    finally:
        shutil.rmtree(arriving, ignore_errors=True)


def _check(file: Path, rows: dict[str, int]) -> None:
    try:
        with duckdb.connect() as con:
            con.execute(f"attach '{quoted(file)}' as f (read_only)")
            found = {
                table: con.execute(f'select count(*) from f."{table}"').fetchall()[0][0]
                for table in rows
            }
    except duckdb.Error as error:
        raise NotUsable(f"{file.name} of the backup is damaged: {error}") from None
    for table, count in rows.items():
        if found[table] != count:
            raise NotUsable(
                f"{file.name} of the backup has {found[table]:,} rows of {table}, and should have"
                f" {count:,}: it is not whole, take another backup."
            )

"""`taximeter backup`, `restore`, `export`, `import`."""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Final, cast

import duckdb

from taximeter.read_query import QueryFailed, receive
from taximeter.settings.ports import collector_url, live_port, served_certificate
from taximeter.settings.settings import Settings, SettingsError, load_settings
from taximeter_collector.query.read_api import QueryFault
from taximeter_collector.store.directory_lock import UnusableStoreError
from taximeter_collector.store.store import StoreError, open_store
from taximeter_collector.transfer.load import import_parquet
from taximeter_collector.transfer.manifest import Kind, Manifest, NotUsable, read_manifest
from taximeter_collector.transfer.restore import restore
from taximeter_collector.transfer.stream import Sender, parse_time

TIMEOUT_S: Final = 3600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the four; return 0, 1 when it failed, 2 when the question was at fault."""
    given = _parser().parse_args(arguments)
    try:
        print(given.run(given, load_settings(given.config, data_dir=given.data_dir)))
    except (NotUsable, SettingsError, UnusableStoreError) as error:
        print(f"taximeter {given.command}: {error}", file=sys.stderr)
        return 2
    except QueryFailed as error:
        print(f"taximeter {given.command}: {error}", file=sys.stderr)
        return error.exit_code
    except QueryFault as fault:
        print(f"taximeter {given.command}: {fault}", file=sys.stderr)
        return 2 if fault.status < 500 else 1
    except (StoreError, OSError, duckdb.Error, tarfile.TarError) as error:
        print(f"taximeter {given.command}: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="taximeter")
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, run: Callable[[argparse.Namespace, Settings], str], help: str,
            what: str) -> argparse.ArgumentParser:  # fmt: skip
        one = commands.add_parser(name, help=help, description=help)
        one.add_argument("directory", metavar="DIR", type=Path, help=what)
        one.add_argument("--config", metavar="FILE", help="taximeter.toml")
        one.add_argument("--data-dir", metavar="DIR", help="of the collector")
        one.set_defaults(run=run)
        return one

    new = "a directory that does not exist yet"
    backup = add("backup", _backup, "the data files, while the collector runs", new)
    export = add("export", _export, "all that is stored, as Parquet files", new)
    export.add_argument("--since", metavar="T", help="received from then on (UTC)")
    export.add_argument("--until", metavar="T", help="received before then (UTC)")
    for one in (backup, export):
        one.add_argument("--url", help="of the collector, when it is not on this machine")
    again = add("restore", _restore, "a backup becomes the data", "what `taximeter backup` wrote")
    again.add_argument("--force", action="store_true", help="set data that is there aside")
    add("import", _import, "adds an export to what is stored", "what `taximeter export` wrote")
    return parser


def _backup(given: argparse.Namespace, settings: Settings) -> str:
    return _fetch(given, settings, "backup", {})


def _export(given: argparse.Namespace, settings: Settings) -> str:
    window = {"since": given.since, "until": given.until}
    for text in window.values():
        parse_time(text)
    return _fetch(given, settings, "export", {k: v for k, v in window.items() if v})


def _restore(given: argparse.Namespace, settings: Settings) -> str:
    manifest = restore(given.directory, settings.store.data_dir, force=given.force)
    return f"{settings.store.data_dir} has the data of {manifest.made_at}: {_told(manifest)}"


def _import(given: argparse.Namespace, settings: Settings) -> str:
    with closing(open_store(settings)) as store:
        added = import_parquet(store, given.directory)
    rows = ", ".join(f"{count:,} {table}" for table, count in added.rows.items())
    return f"added {rows}; derived rows of {added.traces:,} traces came along"


def _fetch(given: argparse.Namespace, settings: Settings, kind: Kind, asked: dict[str, str]) -> str:
    """Receive the archive of a running collector, or make one from the files of one that is stopped."""
    target: Path = given.directory
    if target.exists():
        raise NotUsable(f"{target} exists: name a directory that does not.")
    data_dir = settings.store.data_dir
    is_remote = given.url or live_port(data_dir, "collector") is not None
    if not is_remote and not data_dir.is_dir():
        raise NotUsable(f"there is no data directory {data_dir}: name it with --data-dir.")
    arriving = target.with_name(f"{target.name}.part")
    shutil.rmtree(arriving, ignore_errors=True)
    arriving.mkdir(parents=True)
    try:
        if is_remote:
            url, token = given.url or collector_url(settings), settings.collector.query_token
            secret = token.reveal() if token else None
            served = served_certificate(settings, given.url)
            with receive(
                url, f"/v1/{kind}", asked, token=secret, timeout_s=TIMEOUT_S, served=served
            ) as archive:
                _unpack(cast(IO[bytes], archive), arriving)
        else:
            with closing(open_store(settings)) as store:
                sender = Sender(store)
                parts = sender.backup(asked) if kind == "backup" else sender.export(asked)
                _unpack(cast(IO[bytes], _Joined(parts)), arriving)
        manifest = read_manifest(arriving, kind)
        arriving.replace(target)
    finally:
        shutil.rmtree(arriving, ignore_errors=True)
    return f"{target} holds {_told(manifest)}"


def _unpack(archive: IO[bytes], folder: Path) -> None:
    with tarfile.open(fileobj=archive, mode="r|") as members:
        members.extractall(folder, filter="data")


class _Joined(io.RawIOBase):
    """Pieces of bytes as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._left = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size


def _told(manifest: Manifest) -> str:
    wanted = ("span", "log_record", "metric", "call", "request")
    total = manifest.total
    return ", ".join(f"{total[name]:,} rows of {name}" for name in wanted if name in total)


if __name__ == "__main__":
    sys.exit(main())

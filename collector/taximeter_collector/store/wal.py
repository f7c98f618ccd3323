"""The header of a DuckDB write-ahead log, made again: 38 bytes that a whole log hangs on.

A log is a header (version, identity of its data file, number of the checkpoint), then entries, each with its size
and checksum. DuckDB passes by a log with a header that it does not know, without a word, and empties it at the
next write. The header that belongs to a data file is had from DuckDB itself, by writing to a copy of that file.
Entries keep their own checksums, so a wrong header can't let wrong rows in.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Final

import duckdb

WAL_START: Final = bytes.fromhex("640062")
_MOST_HEADER: Final = 256
_FRAME: Final = 16
"""Bytes before an entry: its size and its checksum, eight each."""


def with_new_header(data_file: Path, log: bytes, scratch: Path) -> bytes:
    """Return ``log`` with the header that logs of ``data_file`` have.

    Needs room for a copy of the file in ``scratch``. Raises duckdb.Error or OSError.
    """
    header = _header_of(data_file, scratch)
    return header + log[len(header) :]


def _header_of(data_file: Path, scratch: Path) -> bytes:
    scratch.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        copy = Path(folder) / "copy.duckdb"
        shutil.copyfile(data_file, copy)
        with duckdb.connect() as con:
            con.execute("set enable_progress_bar = false; set checkpoint_threshold = '1GB'")
            con.execute(f"attach '{str(copy).replace(chr(39), chr(39) * 2)}' as copy")
            con.execute("create table copy.header_of_a_log (i integer)")
            log = copy.with_name(f"{copy.name}.wal").read_bytes()
    return log[: header_bytes(log)]


def header_bytes(log: bytes) -> int:
    """Return where the entries of a whole log begin: from there they lead exactly to its end.

    >>> header_bytes(b"head" + (3).to_bytes(8, "little") + b"checksum" + b"abc")
    4
    """
    for start in range(min(_MOST_HEADER, len(log))):
        at = start
        while at + _FRAME <= len(log):
            size = int.from_bytes(log[at : at + 8], "little")
            at += _FRAME + size
        if at == len(log):
            return start
    return 0

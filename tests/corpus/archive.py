"""The corpus: export requests of real clients as they were sent, with what the provider served.

`python -m tests.corpus.archive FOLDER` packs a folder of clients again.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from taximeter_collector.ingest.decode import Signal

ARCHIVE = Path(__file__).parents[1] / "data" / "otlp-corpus.tar.xz"


@dataclass(frozen=True, slots=True)
class Export:
    """One export request: its signal, its encoding and the decompressed body."""

    signal: Signal
    is_json: bool
    body: bytes


@dataclass(frozen=True, slots=True)
class Scenario:
    """What one client sent while it did one thing, and the truth about that."""

    client: str
    name: str
    truth: dict[str, Any]
    exports: list[Export] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.client}/{self.name}"


@lru_cache(maxsize=1)
def scenarios() -> dict[str, Scenario]:
    """Return every scenario of the archive by ``client/name``, exports in order of arrival."""
    with tarfile.open(ARCHIVE) as archive:
        files = {
            member.name: archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive
            if member.isfile()
        }
    return collect(files)


def collect(files: dict[str, bytes]) -> dict[str, Scenario]:
    """Return the scenarios of files by path (client/scenario/file)."""
    found: dict[str, Scenario] = {}
    for path in sorted(files):
        client, name, file = path.split("/")
        if file == "truth.json":
            found[f"{client}/{name}"] = Scenario(client, name, json.loads(files[path]))
    for path in sorted(files):
        client, name, file = path.split("/")
        _, *signal, encoding = file.split(".")
        if signal and encoding in ("pb", "json"):
            export = Export(signal[0], encoding == "json", files[path])  # type: ignore[arg-type]
            found[f"{client}/{name}"].exports.append(export)
    return found


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the files of a corpus folder that the tests need."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.glob("*/*/*"))
        if file.name == "truth.json" or len(file.name.split(".")) == 3
    }


def pack(folder: Path, archive: Path = ARCHIVE) -> None:
    """Write the archive, the same bytes for the same files."""
    with tarfile.open(archive, "w:xz", preset=9) as out:
        for name, body in read_folder(folder).items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            out.addfile(member, io.BytesIO(body))


if __name__ == "__main__":
    pack(Path(sys.argv[1]))

"""A disk of 64 MB of its own, which a test can fill."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MEBIBYTE = 1 << 20


@contextmanager
def small_disk(folder: Path, mebibytes: int = 64) -> Iterator[Path]:
    """Mount a tmpfs at ``folder``; the test is skipped where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0777", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, leave: int) -> None:
    """Write a file so that ``leave`` bytes stay free."""
    with (disk / "ballast").open("ab", buffering=0) as ballast:
        while (room := shutil.disk_usage(disk).free - leave) > 0:
            try:
                ballast.write(os.urandom(min(room, MEBIBYTE)))
            except OSError:
                return


def clear(disk: Path) -> None:
    """Give the space back."""
    (disk / "ballast").unlink(missing_ok=True)

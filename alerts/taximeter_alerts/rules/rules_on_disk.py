"""The alerts.yaml of a running service: where it is, what stands in it, and how it is replaced."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taximeter.settings.settings import Settings
from taximeter_alerts.rules.book import RuleBook
from taximeter_alerts.rules.rules_file import RulesError, parse_rules, read_rules_text
from taximeter_alerts.rules.starting_text import starting_text

_NAME: Final = "alerts.yaml"
_NEW_MODE: Final = 0o644


class ChangedMeanwhile(Exception):
    """The file is not the one that was edited."""


class NotWritable(Exception):
    """The file can't be replaced from here; `str` is the sentence that says why."""


@dataclass(frozen=True, slots=True)
class Written:
    """What stands in the file."""

    text: str
    """Of the default rules if there is no file."""
    digest: str
    """SHA-256 of its bytes; empty if there is no file."""


def rules_path(settings: Settings) -> Path | None:
    """Return the alerts.yaml in use: the configured one, or the one at hand."""
    if settings.alerts.rules is not None:
        return settings.alerts.rules
    candidates = (Path(_NAME), settings.store.data_dir / _NAME)
    return next((path for path in candidates if path.is_file()), None)


def digest_of(text: str) -> str:
    """Return what tells one text from another."""
    return hashlib.sha256(text.encode()).hexdigest()


class RulesOnDisk:
    """Reads, checks and replaces the file; threads may share it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._seen = self._signature()

    @property
    def file(self) -> Path:
        """Where the file is, or would be written."""
        return rules_path(self._settings) or self._settings.store.data_dir / _NAME

    def read(self) -> Written:
        """Return what stands there. Raises RulesError where it can't be read."""
        if (path := rules_path(self._settings)) is None:
            return Written(starting_text(), "")
        text = read_rules_text(path)
        return Written(text, digest_of(text))

    def check(self, text: str) -> RuleBook:
        """Return what a text would say in the file's place. Raises RulesError."""
        return parse_rules(text, str(self.file), os.environ)

    def has_changed(self) -> bool:
        """Return whether the file is another than at the last call."""
        before, self._seen = self._seen, self._signature()
        return before != self._seen

    def why_not_writable(self) -> str | None:
        """Return in one sentence why the file can't be replaced from here, None if it can."""
        target = self.file.resolve()
        if not os.access(target.parent, os.W_OK | os.X_OK):
            return f"The alerts service may not write in {target.parent}."
        if not target.exists():
            return None
        # Root may write in everything: one who takes all rights to write away means it.
        if not target.stat().st_mode & 0o222 or not os.access(target, os.W_OK):
            return f"{target} is read-only."
        if os.path.ismount(target):
            return f"{target} is mounted as a file of its own, which can't be replaced."
        if hasattr(os, "geteuid") and os.geteuid() not in (0, target.stat().st_uid):
            return f"{target} belongs to another user than the one that runs the alerts service."
        return None

    def replace(self, text: str, digest: str) -> str:
        """Put a text in place of the one with this digest, which is kept as `….bak`; return its digest.

        The file is the old one or the new one at any moment. Raises RulesError, NotWritable, ChangedMeanwhile.
        """
        self.check(text)
        with self._lock:
            if reason := self.why_not_writable():
                raise NotWritable(reason)
            target = self.file.resolve()
            try:
                new = _written_beside(target, text)
            except OSError as error:
                raise NotWritable(f"{target} can't be written: {error.strerror}.") from error
            try:
                if self._digest() != digest:
                    raise ChangedMeanwhile
                if digest:
                    _keep(target)
                os.replace(new, target)
            except OSError as error:
                raise NotWritable(f"{target} can't be replaced: {error.strerror}.") from error
            finally:
                new.unlink(missing_ok=True)
        return digest_of(text)

    def _digest(self) -> str | None:
        try:
            return self.read().digest
        except RulesError:
            return None

    def _signature(self) -> tuple[object, ...]:
        path = rules_path(self._settings)
        if path is None:
            return ()
        try:
            found = path.stat()
        except OSError:
            return (path,)
        return path, found.st_mtime_ns, found.st_size, found.st_ino


def _written_beside(target: Path, text: str) -> Path:
    """Return a file with this text beside the target, with its owner and mode. Raises OSError."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with open(handle, "wb") as stream:
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())
        _look_alike(target, name)
    except BaseException:
        os.unlink(name)
        raise
    return Path(name)


def _look_alike(target: Path, name: str) -> None:
    if not target.exists():
        os.chmod(name, _NEW_MODE)
        return
    old, new = target.stat(), os.stat(name)
    if hasattr(os, "chown") and (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.chown(name, old.st_uid, old.st_gid)
    shutil.copymode(target, name)


def _keep(target: Path) -> None:
    """Keep the file beside itself until the next change. Raises OSError."""
    kept = target.with_name(f"{target.name}.bak")
    kept.unlink(missing_ok=True)
    try:
        os.link(target, kept)
    except OSError:  # there are file systems without links
        with contextlib.suppress(shutil.SameFileError):
            shutil.copy2(target, kept)

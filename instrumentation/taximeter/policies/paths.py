"""Confines paths to one directory."""

from __future__ import annotations

import os
from pathlib import Path, PureWindowsPath
from typing import Any

from taximeter.tools.denied import Denied


class Workdir:
    """Allows paths inside ``root``, symbolic links followed; relative ones are relative to it.

    The tool gets the resolved absolute path, of the type that was given. What exists need not.
    Not seen: a link that is put in place after the check, hard links, mounts inside ``root``.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).resolve()

    def check(self, value: Any) -> Any:
        """Return the resolved path. Raises Denied."""
        resolved = self.resolve(value)
        return str(resolved) if isinstance(value, str) else resolved

    def resolve(self, value: str | os.PathLike[str]) -> Path:
        """Return where a path leads inside the directory. Raises Denied."""
        text = _text(value)
        windows = PureWindowsPath(text)
        if "\\" in text and (windows.drive or windows.root or ".." in windows.parts):
            raise Denied(f"The path {_shown(text)} is not allowed: write it with '/'.")
        if os.name == "posix" and len(windows.drive) == 2:
            raise Denied(f"The path {_shown(text)} is not allowed: it names a drive.")
        try:
            resolved = (self.root / text).resolve()
        except (OSError, RuntimeError, ValueError):
            raise Denied(f"The path {_shown(text)} is not allowed: it leads nowhere.") from None
        if not resolved.is_relative_to(self.root):
            raise Denied(
                f"The path {_shown(text)} is not allowed: it is outside of the tool's directory."
            )
        return resolved


def _text(value: Any) -> str:
    try:
        text = os.fspath(value)
    except TypeError:
        raise Denied(f"A path must be text, not {type(value).__name__}.") from None
    if not isinstance(text, str) or not text:
        raise Denied("A path must be text, and not empty.")
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in text):
        raise Denied(f"The path {_shown(text)} is not allowed: it has control characters.")
    return text


def _shown(text: str) -> str:
    return repr(text[:200])

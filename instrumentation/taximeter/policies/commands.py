"""An allow-list of commands, run without a shell."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from taximeter.policies.allow_list import checked_entries
from taximeter.policies.paths import Workdir
from taximeter.tools.denied import Denied

_SHELL_SIGNS: Final = ";|&<>`$\n\r\0"
RISKY_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "curl": ("-o*", "--output*", "-O*", "--remote-name*", "-K*", "--config*", "-T*", "--upload*",
             "-d*", "--data*", "-F*", "--form*", "--proxy*", "-x*", "-c*", "--cookie-jar*"),
    "find": ("-exec*", "-ok*", "-delete", "-fprint*", "-fls", "-files0-from"),
    "git": ("-c", "-C", "--exec-path*", "--upload-pack*", "--receive-pack*", "--output*", "--ext-diff",
            "--textconv", "-O*", "--open-files-in-pager*", "--git-dir*", "--work-tree*", "--config-env*",
            "--no-index"),
    "grep": ("-f*", "--file*"),
    "less": ("-o*", "-O*", "--log-file*", "-k*", "--lesskey*", "+*"),
    "rg": ("--pre*", "--hostname-bin*", "-f*", "--file*", "-z", "--search-zip"),
    "rsync": ("-e*", "--rsh*", "--rsync-path*"),
    "sed": ("-i*", "--in-place*", "-f*", "--file*"),
    "sort": ("-o*", "--output*", "--compress-program*", "-T*", "--temporary-directory*", "--files0-from*"),
    "ssh": ("-o*", "-F*", "-L*", "-R*", "-D*", "-W*"),
    "tar": ("--to-command*", "--checkpoint-action*", "-I*", "--use-compress-program*", "--rsh-command*",
            "-F*", "--info-script*", "--new-volume-script*", "-T*", "--files-from*", "-P*", "--absolute-names"),
    "wget": ("-O*", "--output-document*", "--use-askpass*", "--post-file*", "--body-file*", "-e*",
             "--execute*", "-i*", "--input-file*", "-P*", "--directory-prefix*", "-o*", "-a*"),
    "xargs": ("*",),
}  # fmt: skip
"""Options that run other programs, or read and write files which no argument names."""


class Commands:
    """Allows commands that begin with the words of an entry: ``Commands("ls", "git status")``.

    The tool gets a list of arguments whose first is the program's absolute path: run it without a
    shell, or by `run`. An interpreter (sh, python, awk, env) that is allowed allows everything.
    """

    def __init__(
        self,
        *allowed: str,
        within: Workdir | None = None,
        refuse: Mapping[str, Sequence[str]] = RISKY_OPTIONS,
        path: str | None = None,
    ) -> None:
        """``within``: every argument must lie there if it is a path. ``path`` as in ``PATH``."""
        entries = checked_entries("Commands", allowed, "git status")
        self._allowed = [tuple(shlex.split(entry)) for entry in entries]
        self._within, self._refuse = within, refuse
        self._path = path or os.environ.get("PATH", os.defpath)

    def check(self, value: Any) -> list[str]:
        """Return the command as a list of arguments. Raises Denied."""
        words = _words(value)
        name = os.path.basename(words[0])
        if words[0] == self._program(name):  # checked before
            words[0] = name
        entry = next((e for e in self._allowed if tuple(words[: len(e)]) == e), None)
        if entry is None:
            known = ", ".join(shlex.join(e) for e in self._allowed)
            raise Denied(f"The command {words[0][:100]!r} is not allowed so; allowed are: {known}.")
        self._check_options(words)
        for word in words[len(entry) :] if self._within else ():
            self._check_place(word)
        program = self._program(words[0])
        if program is None:
            raise Denied(f"The command {words[0][:100]!r} is not installed here.")
        return [program, *words[1:]]

    def run(self, value: Any, *, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a checked command: no shell, no input, only PATH and the language as environment."""
        kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TZ") if name in os.environ}
        return subprocess.run(
            self.check(value),
            cwd=self._within.root if self._within else None,
            env={"PATH": self._path, **kept},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def _program(self, name: str) -> str | None:
        found = shutil.which(name, path=self._path)
        return None if found is None else os.path.abspath(found)

    def _check_options(self, words: Sequence[str]) -> None:
        refused = self._refuse.get(os.path.basename(words[0]), ())
        for word in words[1:]:
            if any(fnmatchcase(word, pattern) for pattern in refused):
                raise Denied(f"The option {word[:100]!r} of {words[0]} is not allowed.")

    def _check_place(self, word: str) -> None:
        """An option's value can be a path too: ``--file=/etc/passwd``, ``-f/etc/passwd``."""
        assert self._within is not None
        if not word.startswith("-"):
            self._within.resolve(word)
            return
        if "=" in word:
            self._within.resolve(word.partition("=")[2] or ".")
        elif "/" in word:
            self._within.resolve(word[word.index("/") :])
        elif ".." in word or "~" in word:
            raise Denied(f"The option {word[:100]!r} is not allowed: it names a place outside.")


def _words(value: Any) -> list[str]:
    if isinstance(value, str):
        if found := [sign for sign in _SHELL_SIGNS if sign in value]:
            raise Denied(
                f"A command runs without a shell, so {found[0]!r} is not allowed in it; give a list"
                " of arguments if it is meant as text."
            )
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise Denied(f"The command can't be read: {error}.") from None
    if not isinstance(value, list | tuple) or not value:
        raise Denied("A command must be text or a list of arguments, and not empty.")
    if not all(isinstance(word, str) and "\0" not in word for word in value):
        raise Denied("The arguments of a command must be text.")
    return list(value)

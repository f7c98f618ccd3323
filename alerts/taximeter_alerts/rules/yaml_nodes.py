"""The nodes of a YAML text, read strictly: a fault is noted with line and column, and one goes on.

YAML's traps are closed: scalars are read as the text that stands there, so `no`, `1:30` or a date
mean nothing special, and a key given twice is a fault.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import yaml

from taximeter.settings.secret import Secret

T = TypeVar("T")
_MOST_VALUES: Final = 100_000
"""Read of one text; an anchor can make millions of a few."""
_MOST_FAULTS: Final = 100


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and where; lines and columns count from 1."""

    line: int
    column: int
    message: str


class TooMuch(Exception):
    """So many values or faults that reading ends here; the last fault says so."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown word.

    >>> did_you_mean("agent", ["agent_name", "model"])
    "; did you mean 'agent_name'?"
    """
    names = list(known)
    # A dimension's first word is often all that people write: agent, user, tool.
    words = {name.split("_")[0]: name for name in reversed(names)} | {n: n for n in names}
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"; did you mean {words[close[0]]!r}?" if close else f"; use one of: {', '.join(names)}"


@dataclass(slots=True)
class Nodes:
    """Reads nodes; all faults are collected, so that one run finds them all."""

    environ: Mapping[str, str]
    faults: list[Fault] = field(default_factory=list)
    context: str = ""
    """What is read now, as faults begin: `rule dear: `."""
    keys: dict[yaml.Node, str] = field(default_factory=dict)
    """The key of each value that was met, which faults name."""
    values: int = 0
    """How many were met."""

    def secret(self, node: yaml.Node) -> Secret:
        """Return what env:NAME or file:/path refers to; a secret never stands in the file."""
        kind, _, name = self.text(node).partition(":")
        found = ""
        if kind == "env" and name:
            found = self.environ.get(name, "")
            if not found:
                self.fault(node, f"environment variable {name} is not set")
        elif kind == "file" and name:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                found = Path(name).expanduser().read_text(encoding="utf-8").strip()
            if not found:
                self.fault(node, f"file {name} cannot be read or is empty")
        else:
            self.fault(node, "a secret is written as env:NAME or file:/path, never in the file")
        return Secret(found)

    def mapping(
        self,
        node: yaml.Node | None,
        allowed: Iterable[str] | None,
        context: str | None = None,
        noun: str = "key",
        example: str = "key: value",
        instead: Mapping[str, str] | None = None,
    ) -> dict[str, yaml.Node]:
        """Return the values by key; a `context` begins a new one, which names the node itself.

        `instead`: ends of sentences about unknown keys that have another place.
        """
        if node is None:
            return {}
        if context is not None:
            self.context = context
            self.keys.pop(node, None)
        if not isinstance(node, yaml.MappingNode):
            self.fault(node, f"keys with values are expected here, as {example}")
            return {}
        self._count(node)
        known = list(allowed) if allowed is not None else None
        keys: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self.text(key)
            if name in keys:
                self.fault(key, f"key {name!r} is given twice")
            elif known is not None and name not in known:
                self.keys[key] = self.keys.get(node, "")
                way_out = (instead or {}).get(name) or did_you_mean(name, known)
                self.fault(key, f"unknown {noun} {name!r}{way_out}")
            else:
                keys[name] = value
                items = value.value if isinstance(value, yaml.SequenceNode) else ()
                self.keys |= dict.fromkeys((value, *items), name)
        return keys

    def missing(self, node: yaml.Node | None, keys: Mapping[str, Any], *needed: str) -> None:
        """Say which keys a mapping lacks."""
        for key in needed:
            if key not in keys and isinstance(node, yaml.MappingNode):
                self.fault(node, f"key {key!r} is missing")

    def sequence(self, node: yaml.Node | None) -> list[yaml.Node]:
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.fault(node, "a list is expected here: [a, b], or each entry after '- '")
            return []
        self._count(node)
        return list(node.value)

    def one_or_more(self, node: yaml.Node | None) -> list[yaml.Node]:
        """Return the entries of a list, which may be written without brackets if it is one."""
        return [node] if isinstance(node, yaml.ScalarNode) else self.sequence(node)

    def texts(self, node: yaml.Node) -> tuple[str, ...]:
        return tuple(self.text(item) for item in self.one_or_more(node))

    def text(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self.fault(node, "a single value is expected here")
            return ""
        return str(node.value).strip()

    def known(self, node: yaml.Node, names: Iterable[str], noun: str) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self.text(node)
            return None
        text = self.text(node)
        if text in names:
            return text
        self.fault(node, f"unknown {noun} {text!r}{did_you_mean(text, names)}")
        return None

    def choice(self, node: yaml.Node | None, allowed: tuple[str, ...], default: str) -> Any:
        if node is None:
            return default
        text = self.text(node)
        if text not in allowed:
            self.fault(node, f"{text!r} is not allowed; use one of: {', '.join(allowed)}")
            return default
        return text

    def value(self, node: yaml.Node | None, parse: Callable[[str], T], default: T) -> T:
        if node is None:
            return default
        try:
            return parse(self.text(node))
        except ValueError as error:
            self.fault(node, str(error))
            return default

    def fault(self, node: yaml.Node, message: str) -> None:
        mark, key = node.start_mark, self.keys.get(node)
        told = f"{self.context}{f'{key}: ' if key else ''}{message}"
        self.faults.append(Fault(mark.line + 1, mark.column + 1, told))
        if len(self.faults) > _MOST_FAULTS:
            told = f"there are more than {_MOST_FAULTS} faults: mend these first"
            self._end(node, told)

    def _count(self, node: yaml.CollectionNode) -> None:
        self.values += len(node.value)
        if self.values > _MOST_VALUES:
            self._end(node, f"with its aliases the text has more than {_MOST_VALUES:,} values")

    def _end(self, node: yaml.Node, message: str) -> NoReturn:
        mark = node.start_mark
        self.faults.append(Fault(mark.line + 1, mark.column + 1, message))
        raise TooMuch

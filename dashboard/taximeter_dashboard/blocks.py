"""Blocks of text for the sheet component: plain values in, its JSON out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

Tone = Literal["", "good", "warn", "bad"]
Block = dict[str, Any]
Fact = tuple[str, str] | tuple[str, str, Tone] | tuple[str, str, Tone, str]
Badge = dict[str, str]


def badge(text: str, tone: Tone = "") -> Badge:
    return {"text": text, "tone": tone}


def heading(
    text: str, *, back: tuple[str, str] | None = None, badges: Sequence[Badge] = (), id: str = ""
) -> Block:
    """A page's title from data, with a way back as (label, address)."""
    to = {"label": back[0], "href": back[1]} if back else None
    return {"type": "heading", "text": text, "back": to, "badges": list(badges), "id": id}


def title(text: str, sub: str = "", badges: Sequence[Badge] = ()) -> Block:
    return {"type": "title", "text": text, "sub": sub, "badges": list(badges)}


def facts(items: Sequence[Fact]) -> Block:
    """Labels above values, side by side; a fourth part is the address a value leads to."""
    return {"type": "facts", "items": [list(item) for item in items]}


def key_values(items: Sequence[Fact]) -> Block:
    """Labels left, values right, one below the other."""
    return {"type": "kv", "items": [list(item) for item in items]}


def note(text: str, tone: Tone = "") -> Block:
    return {"type": "note", "text": text, "tone": tone}


def item(
    title: str,
    text: str = "",
    *,
    tone: Tone = "",
    badges: Sequence[Badge] = (),
    meta: str = "",
    href: str = "",
) -> Block:
    """One entry of a list; with `href` all of it is the link."""
    return {"title": title, "text": text, "tone": tone, "badges": list(badges), "meta": meta,
            "href": href}  # fmt: skip


def listing(items: Sequence[Block], *, is_strip: bool = False) -> Block:
    return {"type": "list", "items": list(items), "tone": "strip" if is_strip else ""}


def grid(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, is_list_on_phone: bool = False
) -> Block:
    """A small table; a column whose name starts with > is aligned right.

    Where it is too wide it scrolls, or becomes a list: the first column above the others with their names.
    """
    cols = [{"label": c.lstrip(">"), "right": c.startswith(">")} for c in columns]
    return {"type": "grid", "cols": cols, "rows": [list(row) for row in rows],
            "phone": "list" if is_list_on_phone else ""}  # fmt: skip


def step(
    key: str,
    title: str,
    text: str,
    *,
    tone: Tone = "",
    badge: str = "",
    is_open: bool = False,
    inside: Sequence[Block] = (),
) -> Block:
    """A step that folds; what a person folds stays so under the same `key`."""
    return {"type": "step", "key": key, "title": title, "text": text, "tone": tone,
            "badge": badge, "open": is_open, "inside": list(inside)}  # fmt: skip


def verbatim(text: str) -> Block:
    """Text as it came, with its lines."""
    return {"type": "verbatim", "text": text}


def turn(
    who: str,
    text: str,
    *,
    role: str,
    given: str = "",
    badges: Sequence[Badge] = (),
    meta: str = "",
    href: str = "",
    is_code: bool = False,
) -> Block:
    """One turn of a conversation; `given` is what a tool was called with, `href` leads to the span."""
    return {"type": "turn", "who": who, "text": text, "role": role, "given": given,
            "badges": list(badges), "meta": meta, "href": href, "code": is_code}  # fmt: skip

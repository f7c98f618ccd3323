"""What an allow-list policy was given, checked: an empty or misread entry must not allow all."""

from __future__ import annotations


def checked_entries(policy: str, entries: tuple[object, ...], example: str) -> tuple[str, ...]:
    """Return the entries. Raises ValueError where there is none, or one that is no text or empty.

    >>> checked_entries("Hosts", (["api.example.com"],), "api.example.com")
    Traceback (most recent call last):
    ValueError: Hosts: give each entry as a text of its own, Hosts('api.example.com', …)
    """
    texts = tuple(entry for entry in entries if isinstance(entry, str) and entry.strip())
    if not entries or len(texts) < len(entries):
        raise ValueError(
            f"{policy}: give each entry as a text of its own, {policy}({example!r}, …)"
        )
    return texts

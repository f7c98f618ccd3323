"""Which models our tests ask, and what for."""

from __future__ import annotations

from typing import Any

CLAUDE, GPT = "claude-sonnet-5-5", "gpt-5.4"
ASK: Any = [{"role": "user", "content": "next?"}]

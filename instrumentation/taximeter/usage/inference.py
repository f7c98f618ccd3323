"""Which provider's shape a usage object has, told by the names in it."""

from __future__ import annotations

import ast
import json
from typing import Any, Final

_PRINTED_MAX: Final = 8192
"""Characters of a printed dict that are read: parsing one takes a hundred times its size."""
_MARKS: Final[tuple[tuple[str, str, frozenset[str]], ...]] = (
    ("gemini", "promptTokenCount", frozenset()),
    ("gemini", "prompt_token_count", frozenset()),
    ("bedrock", "inputTokens", frozenset()),
    ("deepseek", "prompt_cache_hit_tokens", frozenset()),
    ("openai_chat", "prompt_tokens", frozenset()),
    ("anthropic", "input_tokens", frozenset({"cache_creation_input_tokens", "cache_creation",
                                             "cache_read_input_tokens", "server_tool_use"})),
    ("openai_realtime", "input_tokens", frozenset({"input_token_details"})),
    ("openai_responses", "input_tokens", frozenset({"input_tokens_details", "total_tokens"})),
    ("anthropic", "input_tokens", frozenset()),
)  # fmt: skip
"""Shape, the name that it must have, names of which one must be there (none: no matter)."""


def open_usage(text: str) -> Any:
    """Return the object in ``text``: JSON, else what Python prints for a dict. Raises ValueError.

    >>> open_usage("{'prompt_tokens': 1, 'details': None}")
    {'prompt_tokens': 1, 'details': None}
    """
    try:
        return json.loads(text)
    except ValueError:
        if not text.startswith("{'") or len(text) > _PRINTED_MAX:
            raise
    try:
        return ast.literal_eval(text)
    except (SyntaxError, MemoryError) as error:
        raise ValueError("neither JSON nor a printed dict") from error


def infer_shape(raw: Any) -> str:
    """Return the shape of a usage object that does not name it; see `SHAPES`.

    Raises ValueError where no provider's names are in it.

    >>> infer_shape({"input_tokens": 1, "cache_read_input_tokens": 0, "output_tokens": 2})
    'anthropic'
    """
    names = set(raw) if isinstance(raw, dict) else set()
    for shape, needed, marks in _MARKS:
        if needed in names and (not marks or names & marks):
            return shape
    raise ValueError("no provider's usage object: none of its names is known")

"""One spelling for models and tiers, the same for both sides. Pure.

Exports say `claude-haiku-4-5-20251001`, `Claude Haiku 4.5` or `ft-gpt-4o-2024-08-06` where a call
says `claude-haiku-4-5` or `ft:gpt-4o-2024-08-06:acme::x`.
"""

from __future__ import annotations

import re
from typing import Final

from taximeter.pricing import Catalog
from taximeter.pricing.catalog import STANDARD_TIERS

_FINE_TUNED: Final = re.compile(r"^ft[:-](?P<base>[^:]+)")
_DATE: Final = re.compile(r"-(?:20\d{6}|20\d{2}-\d{2}-\d{2})$")


def model_name(catalog: Catalog, provider: str, spelled: str) -> str:
    """Return the price list's id of a model, or the plain name of one that it lacks.

    >>> from taximeter.pricing import load_catalog
    >>> [model_name(load_catalog(), "anthropic", name)
    ...  for name in ("claude-haiku-4-5-20251001", "Claude Haiku 4.5", "claude-next-9")]
    ['claude-haiku-4-5', 'claude-haiku-4-5', 'claude-next-9']
    >>> [model_name(load_catalog(), "openai", name)
    ...  for name in ("ft:gpt-4o-2024-08-06:acme::x", "ft-gpt-4o-2024-08-06")]
    ['ft:gpt-4o', 'ft:gpt-4o']
    """
    name = spelled.strip().lower()
    if tuned := _FINE_TUNED.match(name):
        return f"ft:{model_name(catalog, provider, tuned['base'])}"
    if " " in name:
        name = re.sub(r"[\s.]+", "-", name)
    found = catalog.resolve(provider, name)
    if found is not None and found.match_quality != "prefix":
        return found.model
    return _DATE.sub("", name)


def tier_name(tier: str | None, *, batch: bool = False, fast: bool = False) -> str:
    """Return the tier's name: batch before speed before what the provider calls it.

    >>> tier_name("default"), tier_name("flex"), tier_name(None, batch=True)
    ('standard', 'flex', 'batch')
    """
    if batch:
        return "batch"
    name = (tier or "standard").strip().lower()
    name = "standard" if name in STANDARD_TIERS else name
    return "fast" if fast and name == "standard" else name

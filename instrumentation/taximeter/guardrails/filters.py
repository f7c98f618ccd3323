"""A guardrail on the way out: secrets and personal data are masked, or stop the answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from taximeter.guardrails.rail import Fail, Guardrail
from taximeter.guardrails.verdicts import Verdict, allow, block, rewrite
from taximeter.redaction import SETS, Redactor


def secrets_filter(
    sets: Iterable[str] = SETS,
    *,
    expressions: Sequence[str] = (),
    on_found: Literal["rewrite", "block"] = "rewrite",
    name: str = "secrets-filter",
    fail: Fail = "closed",
) -> Guardrail:
    """Return a guardrail for texts (also inside of lists and mappings), by the collector's patterns.

    Raises ValueError for an unknown set or a broken expression.
    """
    redactor = Redactor(sets, expressions)
    if on_found not in ("rewrite", "block"):
        raise ValueError(f"secrets_filter: on_found={on_found!r}: use 'rewrite' or 'block'")

    def check(value: Any) -> Verdict:
        labels: dict[str, None] = {}
        cleaned = _cleaned(value, redactor, labels)
        if not labels:
            return allow()
        reason = f"found: {', '.join(labels)}"
        return block(reason) if on_found == "block" else rewrite(cleaned, reason)

    return Guardrail(check, name, fail)


def _cleaned(value: Any, redactor: Redactor, labels: dict[str, None]) -> Any:
    if isinstance(value, str):
        labels.update(dict.fromkeys(redactor.found(value)))
        return redactor.clean(value)
    if isinstance(value, Mapping):
        return {
            _cleaned(key, redactor, labels): _cleaned(item, redactor, labels)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)([_cleaned(item, redactor, labels) for item in value])
    return value

"""A guardrail that enforces a schema: pydantic, JSON Schema, or a callable that raises."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from taximeter.guardrails.rail import Fail, Guardrail
from taximeter.guardrails.verdicts import Verdict, allow, block


def matches_schema(schema: Any, *, name: str = "schema", fail: Fail = "closed") -> Guardrail:
    """Return a guardrail that blocks what does not fit; texts are read as JSON.

    ``schema``: a pydantic model or TypeAdapter, a JSON Schema (a mapping; needs the package
    ``jsonschema``), or a callable that raises ValueError or returns False for what is wrong.
    Raises ImportError where the package is missing and TypeError for what is no schema.
    """
    validate = _validator(schema)

    def check(value: Any) -> Verdict:
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                return block("no JSON")
        wrong = validate(value)
        return allow() if wrong is None else block(wrong)

    return Guardrail(check, name, fail)


_Validate = Callable[[Any], str | None]
"""Returns where a value does not fit, None where it does."""


def _validator(schema: Any) -> _Validate:
    if isinstance(schema, Mapping):
        return _json_schema(schema)
    validate = getattr(schema, "model_validate", None) or getattr(schema, "validate_python", None)
    if validate is not None:
        return _pydantic(validate)
    if callable(schema):
        return _callable(schema)
    raise TypeError(
        f"matches_schema: {type(schema).__name__} is no schema; give a pydantic model, a JSON Schema"
        " as a mapping, or a callable"
    )


def _pydantic(validate: Callable[[Any], Any]) -> _Validate:
    def check(value: Any) -> str | None:
        try:
            validate(value)
        except ValueError as error:
            errors = getattr(error, "errors", None)
            if errors is None:
                return type(error).__name__
            first = errors(include_url=False, include_input=False)[0]
            return _where(first["loc"], first["type"])
        return None

    return check


def _json_schema(schema: Mapping[str, Any]) -> _Validate:
    try:
        from jsonschema.validators import validator_for  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        raise ImportError(
            "matches_schema needs the package jsonschema for a JSON Schema: pip install jsonschema,"
            " or give a pydantic model or a callable"
        ) from None
    kind = validator_for(schema)
    kind.check_schema(schema)
    validator = kind(schema)

    def check(value: Any) -> str | None:
        error = next(iter(validator.iter_errors(value)), None)
        return None if error is None else _where(error.absolute_path, str(error.validator))

    return check


def _callable(schema: Callable[[Any], Any]) -> _Validate:
    def check(value: Any) -> str | None:
        try:
            return "does not fit" if schema(value) is False else None
        except ValueError as error:
            return str(error)[:200] or "does not fit"

    return check


def _where(path: Any, rule: str) -> str:
    """Say where and by which rule, not what was there."""
    return f"{'.'.join(map(str, path)) or 'the value'}: {rule}"

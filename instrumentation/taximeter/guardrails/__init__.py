"""Guardrails: checks around requests, tools and outputs, each a span with its verdict and reason."""

from taximeter.guardrails.around import protect
from taximeter.guardrails.classifiers import classifier, claude_classifier, moderation
from taximeter.guardrails.filters import secrets_filter
from taximeter.guardrails.rail import Guardrail, guardrail
from taximeter.guardrails.schemas import matches_schema
from taximeter.guardrails.trust import trust_boundary
from taximeter.guardrails.verdicts import Verdict, allow, block, rewrite

__all__ = [
    "Guardrail",
    "Verdict",
    "allow",
    "block",
    "classifier",
    "claude_classifier",
    "guardrail",
    "matches_schema",
    "moderation",
    "protect",
    "rewrite",
    "secrets_filter",
    "trust_boundary",
]

"""How a span was read: dialect and kind, raw usage, input basis, invariants. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from taximeter.usage import infer_shape, open_usage
from taximeter_collector.explain.evidence import CALLS, Evidence
from taximeter_collector.explain.proof import (
    Check,
    Column,
    Fact,
    Link,
    Step,
    Table,
    Value,
    count,
    shown,
    worst,
)
from taximeter_collector.explain.replay import Candidate, Reading, Rule

NOT_USAGE: Final = frozenset(
    ("provider_raw", "server_address", "request_model", "response_model", "response_id",
     "request_id", "usage_raw", "usage_shape", "service_tier", "batch", "region_class",
     "cost_reported", "session_id", "user_id", "tenant", "tags", "environment", "agent_name",
     "agent_version", "agent_id", "entity_name", "tool_name", "tool_call_id", "arguments_hash",
     "result_hash", "tool_args", "tool_result", "tool_status", "success", "denied",
     "finish_reason", "error_type", "http_status", "error_level", "attempt", "resend_count",
     "ttft_s", "ttft_ms", "iteration", "iteration_id", "termination_reason", "iteration_limit",
     "confidence", "operation")
)  # fmt: skip
"""Mapped columns that count no tokens; a new column is shown until it is named here."""
PROMPT_LEAVES: Final = (
    "uncached_input_tokens", "unclassified_input_tokens", "cache_read_tokens",
    "cache_write_tokens", "audio_input_tokens", "audio_cache_read_tokens", "image_input_tokens",
)  # fmt: skip
OUTPUT_LEAVES: Final = ("output_tokens", "audio_output_tokens", "image_output_tokens")
_SHOWN_VALUE: Final = 80


def dialect_step(evidence: Evidence) -> Step:
    """Say which rule named the dialect, and which the kind."""
    reading, span = evidence.reading, evidence.span
    facts = [
        Fact("Dialect", reading.dialect),
        Fact("Found by", _detected(reading, span)),
        Fact("Kind", reading.kind),
        Fact("Kind by", _kind_reason(reading)),
        Fact(
            "Emitter", " ".join(filter(None, (span["scope_name"], span["scope_version"]))) or None
        ),
        Fact("Service", span["service_name"]),
    ]
    changed = [
        f"{name} is stored as {span[name] or 'nothing'}"
        for name, now in (("dialect", reading.dialect), ("kind", reading.kind))
        if span[name] != now
    ]
    if changed:
        says = f"The rules have changed since this span came: {' and '.join(changed)}."
        return Step("dialect", "Dialect and kind", says, "note", facts)
    if reading.detected_by is None:
        says = "No rule knows this emitter: the span is kept and shown, and never priced."
        return Step("dialect", "Dialect and kind", says, "note", facts)
    says = f"A span of {reading.dialect}, kind {reading.kind}."
    return Step("dialect", "Dialect and kind", says, "ok", facts)


def _detected(reading: Reading, span: Mapping[str, Any]) -> str:
    rule = reading.detected_by
    if rule is None:
        return "no rule"
    place, pattern = rule.fields.get("place"), rule.fields.get("pattern")
    met = span["scope_name"] if place == "scope" else None
    seen = f" met by {met}" if met and met != pattern else ""
    return f"{place} {pattern}{seen} ({rule.place})"


def _kind_reason(reading: Reading) -> str:
    rule = reading.kind_by
    if rule is not None:
        return f"{rule.fields.get('key')} = {rule.fields.get('value')} ({rule.place})"
    if reading.kind == "tool":
        return "no kind is said, and it names a tool"
    if reading.kind == "llm":
        return "no kind is said, and it names a model and counts its input"
    return "no rule fits"


def usage_step(evidence: Evidence) -> Step:
    """Say which attribute fed which token count, and what was there beside."""
    reading, twin = evidence.reading, (evidence.call or {}).get("usage_span_id")
    if twin:
        says = f"Span {twin} is another view of this call and tells more: its counts are taken."
        links = [Link(evidence.span["trace_id"], twin, "the counts come from here")]
        return Step("usage", "Raw usage", says, "ok", links=links)
    found = {name: of for name, of in reading.candidates.items() if name not in NOT_USAGE}
    table = Table(
        (Column("Column"), Column("Read from"), Column("Value"), Column("Ignored")),
        [_source_row(name, of) for name, of in found.items()],
    )
    differing = [name for name, of in found.items() if _disagreeing(of)]
    if reading.raw_decides:
        return _raw_usage_step(reading, [table] if found else [])
    if not found:
        says = "The span counts no tokens: what it used is unknown, not zero."
        is_call = reading.kind in CALLS
        return Step("usage", "Raw usage", says, "note" if is_call else "none")
    says = (
        f"{count(len(found), 'count')} from attributes; where several say it, the first rule wins."
    )
    if reading.candidates.get("usage_raw"):
        says += " The provider's own usage object is there too and is not of the shape it claims."
    if differing:
        says += f" Others disagree about {', '.join(differing)}."
    return Step("usage", "Raw usage", says, "note" if differing else "ok", tables=[table])


def _raw_usage_step(reading: Reading, ignored: Sequence[Table]) -> Step:
    raw, shape = reading.candidates["usage_raw"][0], usage_shape(reading)
    facts = [Fact("Read from", raw.source), Fact("Shape", shape)]
    says = f"The provider's own usage object of shape {shape} decides."
    if ignored:
        says += " The counts in other attributes are ignored."
    return Step("usage", "Raw usage", says, "ok", facts, ignored, verbatim=_indented(raw.value))


def usage_shape(reading: Reading) -> str:
    """Return the shape that the emitter claims, else the one that the names in it tell."""
    claimed = _first(reading, "usage_shape")
    return claimed or infer_shape(open_usage(reading.candidates["usage_raw"][0].value))


def _source_row(name: str, candidates: Sequence[Candidate]) -> list[Value]:
    first, *others = candidates
    ignored = [
        f"{one.source} = {_short(one.value)}" + (" (disagrees)" if _differs(first, one) else "")
        for one in others
    ]
    return [name, first.source, _short(first.value), "; ".join(ignored)]


def _disagreeing(candidates: Sequence[Candidate]) -> bool:
    return any(_differs(candidates[0], one) for one in candidates[1:])


def _differs(one: Candidate, other: Candidate) -> bool:
    try:
        return float(one.value) != float(other.value)
    except ValueError:
        return one.value != other.value


def basis_step(evidence: Evidence) -> Step:
    """Say whether the emitter's input holds the cached tokens, and how that is known."""
    call, typed = evidence.call or {}, evidence.reading.typed
    basis, why = call.get("input_basis"), call.get("basis_evidence")
    if why == "last_of_several":
        said = "The tools ran inside this span, so it stands for several calls and counts the last one at best: its tokens are unknown"
        return Step("basis", "Input basis", said + ".", "none")
    if basis is None:
        return Step("basis", "Input basis", "No input is counted, so there is nothing to decide.",
                    "none")  # fmt: skip
    way = "leaves cached tokens out" if basis == "exclusive" else "includes the cached tokens"
    facts = [Fact("Basis", basis), Fact("Evidence", why)]
    reason = _basis_reason(why, typed, evidence.reading)
    return Step("basis", "Input basis", f"{reason}: input {way}.", "ok", facts)


def _basis_reason(why: str | None, typed: Mapping[str, Any], reading: Reading) -> str:
    cached, stated = typed.get("cached") or 0, typed.get("i")
    parts = (
        f"cache_read {_n(typed.get('r') or 0)} + cache_write {_n(cached - (typed.get('r') or 0))}"
    )
    if why == "raw":
        shape = usage_shape(reading) if reading.raw_decides else "said"
        return f"A usage object of shape {shape} says what its input means"
    if why == "stated":
        return f"The uncached part is stated apart ({_n(typed.get('u'))} of input {_n(stated)})"
    if why == "table" and isinstance(reading.exclusive_by, Rule):
        rule = reading.exclusive_by.fields
        version = f" up to {rule['version_up_to']}" if rule.get("version_up_to") else ""
        return (
            f"Emitter {rule.get('scope')}{version} is known for it ({reading.exclusive_by.place})"
        )
    if why == "invariant" and cached > (stated or 0):
        return f"{parts} > input {_n(stated)}"
    if why == "invariant":
        total = _first(reading, "reported_total")
        return f"The reported total {total} = input {_n(stated)} + {parts} + output {_n(typed.get('o'))}"
    if why == "default" and not cached:
        return "No cached tokens are reported, so nothing hangs on it; by the convention"
    if why == "default":
        return (
            "No rule names this emitter and the numbers do not contradict the convention"
            f" ({parts} ≤ input {_n(stated)})"
        )
    return f"Decided by {why}"


def invariants_step(evidence: Evidence) -> Step:
    """Check what must hold of the stored counts."""
    call = evidence.call or {}
    if call.get("total_tokens") is None and call.get("prompt_tokens") is None:
        return Step(
            "invariants", "Invariants", "No tokens are known, so none can be checked.", "none"
        )
    checks = [
        _none_negative(call),
        _sums_to("The parts of the prompt are the prompt", call, PROMPT_LEAVES, "prompt_tokens"),
        _whole_input(evidence),
        _sums_to("Prompt and output are all tokens", call, ("prompt_tokens", *OUTPUT_LEAVES),
                 "total_tokens"),
        _reported_total(evidence),
        _reasoning(call),
        _no_conflict(call),
        _same_again(evidence),
    ]  # fmt: skip
    verdict = worst([check.verdict for check in checks])
    broken = [check.claim for check in checks if check.verdict in ("failed", "note")]
    held = sum(check.verdict == "ok" for check in checks)
    says = f"{count(held, 'check')} hold" + (f"; not: {'; '.join(broken)}." if broken else ".")
    return Step("invariants", "Invariants", says, verdict, checks=checks)


def _none_negative(call: Mapping[str, Any]) -> Check:
    leaves = {name: call[name] for name in (*PROMPT_LEAVES, *OUTPUT_LEAVES)}
    below = [f"{name} {value}" for name, value in leaves.items() if value is not None and value < 0]
    return Check("No count is negative", "failed" if below else "ok", ", ".join(below))


def _sums_to(claim: str, call: Mapping[str, Any], parts: Sequence[str], whole: str) -> Check:
    total = call[whole]
    if total is None:
        return Check(claim, "none", f"{whole} is unknown")
    added = sum(call[part] or 0 for part in parts)
    terms = " + ".join(_n(call[part]) for part in parts if call[part]) or "0"
    return Check(claim, "ok" if added == total else "failed", f"{terms} = {_n(added)}"
                 + ("" if added == total else f", stored {_n(total)}"))  # fmt: skip


def _whole_input(evidence: Evidence) -> Check:
    """The input that the emitter said is found again in the partition."""
    claim = "The stated input is in the parts"
    call, typed, reading = evidence.call or {}, evidence.reading.typed, evidence.reading
    if call.get("usage_span_id"):
        return Check(claim, "none", f"the counts are those of span {call['usage_span_id']}")
    if reading.raw_decides or typed.get("i") is None or call.get("prompt_tokens") is None:
        return Check(claim, "none", "the usage object is read part by part" if reading.raw_decides
                     else "no input is stated")  # fmt: skip
    stated, cached = int(typed["i"]), int(typed.get("cached") or 0)
    compaction = int(_first(reading, "compaction_input") or 0)
    expected = stated + compaction + (cached if call["input_basis"] == "exclusive" else 0)
    terms = [f"input {_n(stated)}"]
    if call["input_basis"] == "exclusive":
        terms.append(f"cached {_n(cached)}")
    if compaction:
        terms.append(f"compaction {_n(compaction)}")
    numbers = f"{' + '.join(terms)} = {_n(expected)}"
    if expected == call["prompt_tokens"]:
        return Check(claim, "ok", numbers)
    return Check(claim, "failed", f"{numbers}, the parts add up to {_n(call['prompt_tokens'])}")


def _reported_total(evidence: Evidence) -> Check:
    claim, call, typed = "The reported total agrees", evidence.call or {}, evidence.reading.typed
    text = _first(evidence.reading, "reported_total")
    if text is None or not text.isdigit() or call.get("total_tokens") is None:
        return Check(claim, "none", "no total is reported")
    total, ours = int(text), call["total_tokens"]
    if total == ours:
        return Check(claim, "ok", f"{_n(total)} = {_n(ours)}")
    stated = (typed.get("i") or 0) + (typed.get("o") or 0)
    if total == stated:
        return Check(claim, "ok", f"{_n(total)} = stated input and output; with cache {_n(ours)}")
    return Check(claim, "note", f"reported {_n(total)}, counted {_n(ours)}")


def _reasoning(call: Mapping[str, Any]) -> Check:
    claim, part, whole = "Reasoning is part of the output", call["reasoning_tokens"], None
    whole = call["output_tokens"]
    if part is None or whole is None:
        return Check(claim, "none", "no reasoning is reported")
    return Check(claim, "ok" if part <= whole else "note", f"{_n(part)} of {_n(whole)}")


def _no_conflict(call: Mapping[str, Any]) -> Check:
    claim = "The emitter's counts fit each other"
    if call["usage_conflict"]:
        return Check(claim, "failed", "the parts exceed the whole; the rest was cut at zero")
    return Check(claim, "ok")


def _same_again(evidence: Evidence) -> Check:
    """The rules of today read the stored attributes as they were read on arrival."""
    claim, call, again = (
        "Read again, the span gives the same",
        evidence.call or {},
        evidence.reading,
    )
    if call.get("usage_span_id"):
        return Check(claim, "none", f"the counts are those of span {call['usage_span_id']}")
    names = (*PROMPT_LEAVES, *OUTPUT_LEAVES, "reasoning_tokens", "web_searches", "input_basis")
    changed = [
        f"{name} {shown(again.span[name], 'count')}, stored {shown(call[name], 'count')}"
        for name in names
        if again.span.get(name) != call.get(name)
    ]
    return Check(claim, "note" if changed else "ok", "; ".join(changed))


def _first(reading: Reading, column: str) -> str | None:
    found = reading.candidates.get(column)
    return found[0].value if found else None


def _n(value: int | None) -> str:
    return shown(value, "count")


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_VALUE else text[: _SHOWN_VALUE - 1] + "…"


def _indented(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text

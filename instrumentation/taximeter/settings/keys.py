"""Every key that a user may set: its default, what is allowed, how it is read.

Docs and checks are made from this table.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DEFAULT_DATA_DIR: Final = Path("~/.taximeter")


class SettingsError(Exception):
    """A setting that cannot be used; the message is ready for the user."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key a user may set, as the docs and the checks see it."""

    section: str
    key: str
    allowed: str
    default: Any
    parse: Callable[[Any], Any]
    is_path: bool = False
    description: str = ""

    @property
    def name(self) -> str:
        return f"{self.section}.{self.key}"

    @property
    def variable(self) -> str:
        return f"TAXIMETER_{self.section}_{self.key}".upper()


def _port(value: Any) -> int:
    return _integer(value, 0, 65535)


def _mebibytes(value: Any) -> int:
    return _integer(value, 1, 1024)


def _days(value: Any) -> int:
    return _integer(value, 0, 36_500)


def _bytes(value: Any) -> int:
    return _integer(value, 0, 1 << 60)


def _integer(value: Any, low: int, high: int) -> int:
    number = int(str(value))  # by way of text: True and 1.5 are no port numbers
    if not low <= number <= high:
        raise ValueError
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value.strip()


def _path(value: Any) -> Path:
    return Path(_text(value)).expanduser()


def _store_url(value: Any) -> str:
    text = _text(value)
    if not text.startswith(("duckdb:", "ducklake:")):
        raise ValueError
    return text


def _names(value: Any) -> tuple[str, ...]:
    """Read a list of names from TOML, or one with commas from the environment."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list):
        raise ValueError  # noqa: TRY004 - as all faults of a setting
    return tuple(_text(item) for item in items)


def _yes(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = {"true": True, "false": False}.get(_text(value).lower())
    if known is None:
        raise ValueError
    return known


def _pattern_sets(value: Any) -> tuple[str, ...]:
    names = _names(value)
    if not set(names) <= {"secrets", "pii"}:
        raise ValueError
    return names


def _audience(value: Any) -> str:
    text = _text(value).lower()
    if text not in ("everyone", "editors", "nobody"):
        raise ValueError
    return text


def _size(value: Any) -> str:
    text = _text(value)
    if not re.fullmatch(r"[1-9]\d*\s*[KMG]i?B", text):
        raise ValueError
    return text


_PORT: Final = "a port number from 0 to 65535 (0 takes a free one)"
_DAYS: Final = "a whole number of days, 0 for ever"
_HOST: Final = "a host name or address"
_FILE: Final = "the path of a file"
_LOOPBACK: Final = "127.0.0.1"
_KEYS: Final = "a list of attribute names, * for any part of one"
_ADDRESSES: Final = "a list of e-mail addresses, * for any part of one"
_TOOLS: Final = "a list of tool names, * for any part of one"
POLLING: Final = ("*_status", "wait", "sleep", "read_log")

SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("collector", "host", _HOST, _LOOPBACK, _text, description="where the receivers listen"),
    Setting("collector", "http_port", _PORT, 4318, _port, description="OTLP/HTTP and the read API"),
    Setting("collector", "grpc_port", _PORT, 4317, _port, description="OTLP/gRPC"),
    Setting(
        "collector",
        "max_request_mib",
        "a whole number of MiB from 1 to 1024",
        64,
        _mebibytes,
        description="the largest request, before and after decompression",
    ),
    Setting(
        "collector",
        "ingest_token_file",
        _FILE,
        None,
        _path,
        is_path=True,
        description="file with the bearer tokens for sending, one a line (or TAXIMETER_INGEST_TOKEN)",
    ),
    Setting(
        "collector",
        "query_token_file",
        _FILE,
        None,
        _path,
        is_path=True,
        description="file with the bearer tokens for reading, one a line (or TAXIMETER_QUERY_TOKEN)",
    ),
    Setting(
        "collector",
        "tls_cert_file",
        _FILE,
        None,
        _path,
        is_path=True,
        description="certificate (PEM, with its chain): both ports speak TLS only",
    ),
    Setting(
        "collector",
        "tls_key_file",
        _FILE,
        None,
        _path,
        is_path=True,
        description="the certificate's key (PEM)",
    ),
    Setting(
        "collector",
        "tls_client_ca_file",
        _FILE,
        None,
        _path,
        is_path=True,
        description="only clients with a certificate of this authority are heard (mTLS)",
    ),
    Setting(
        "collector",
        "insecure",
        "true or false",
        False,
        _yes,
        description="listen beyond loopback without TLS, behind a proxy that has it (or --insecure)",
    ),
    Setting(
        "store",
        "data_dir",
        "the path of a directory",
        DEFAULT_DATA_DIR,
        _path,
        is_path=True,
        description="the only place where taximeter writes",
    ),
    Setting(
        "store",
        "url",
        '"duckdb:…" or "ducklake:…"',
        "duckdb:",
        _store_url,
        description="the kind of store",
    ),
    Setting(
        "store",
        "memory",
        'a size such as "1GB" or "512MB"',
        "256MB",
        _size,
        description="what the store may use before it writes to a temporary file",
    ),
    Setting(
        "store",
        "retention_days",
        _DAYS,
        30,
        _days,
        description="how long spans, logs and metrics are kept; then their day's file is deleted",
    ),
    Setting(
        "store",
        "content_retention_days",
        _DAYS,
        7,
        _days,
        description="how long what agents say (prompts, answers, tool texts) is kept; the rest of a span stays",
    ),
    Setting(
        "store",
        "rollup_retention_days",
        _DAYS,
        400,
        _days,
        description="how long calls, requests, runs and minutes are kept",
    ),
    Setting(
        "store",
        "checkpoint_threshold",
        'a size such as "64MB"',
        "64MB",
        _size,
        description="a write-ahead log of this size is worked into its data file; larger ones pause longer",
    ),
    Setting(
        "store",
        "min_free_bytes",
        "a whole number of bytes, 0 to try to the end",
        1 << 30,
        _bytes,
        description="with less free on the disk no telemetry is taken in, and reads go on",
    ),
    Setting(
        "redaction",
        "built_in",
        "a list of secrets, pii",
        (),
        _pattern_sets,
        description="shipped patterns that are masked in what is stored (the shim's redaction_patterns.csv)",
    ),
    Setting(
        "redaction",
        "patterns",
        "a list of regular expressions (RE2)",
        (),
        _names,
        description="your own, masked as [redacted]",
    ),
    Setting(
        "redaction",
        "deny_keys",
        _KEYS,
        (),
        _names,
        description="attributes that are thrown away, facts or not",
    ),
    Setting(
        "redaction",
        "allow_keys",
        _KEYS,
        (),
        _names,
        description="if given, only these attributes are stored, and those with facts",
    ),
    Setting("prices", "file", _FILE, None, _path, is_path=True, description="your own prices.toml"),
    Setting(
        "tools",
        "polling",
        _TOOLS,
        POLLING,
        _names,
        description="tools whose repetition is their purpose: never a repeat",
    ),
    Setting(
        "tools",
        "mutating",
        _TOOLS,
        (),
        _names,
        description="tools that write: a read before one and after it is no repeat",
    ),
    Setting(
        "tools",
        "volatile_arguments",
        "a list of argument names, tool.name for those of one tool",
        (),
        _names,
        description="left out of the comparison of two calls, besides timestamp, request_id, nonce, tool_call_id, _meta",
    ),
    Setting("alerts", "host", _HOST, _LOOPBACK, _text, description="where the alerts API listens"),
    Setting("alerts", "port", _PORT, 4319, _port, description="the alerts API"),
    Setting(
        "alerts",
        "rules",
        _FILE,
        None,
        _path,
        is_path=True,
        description="alerts.yaml, by default the one in the working directory or the data dir",
    ),
    Setting("dashboard", "host", _HOST, _LOOPBACK, _text, description="where the page listens"),
    Setting("dashboard", "port", _PORT, 8501, _port, description="the web page"),
    Setting(
        "dashboard",
        "viewer_token_file",
        _FILE,
        None,
        _path,
        is_path=True,
        description="file with the tokens of who may look, one a line (or TAXIMETER_VIEWER_TOKEN)",
    ),
    Setting(
        "dashboard",
        "editor_token_file",
        _FILE,
        None,
        _path,
        is_path=True,
        description="file with the tokens of who may also change alerts, one a line (or TAXIMETER_EDITOR_TOKEN)",
    ),
    Setting(
        "dashboard",
        "oidc_file",
        _FILE,
        None,
        _path,
        is_path=True,
        description="TOML with the section [auth] of an OpenID Connect provider, in place of tokens",
    ),
    Setting(
        "dashboard",
        "viewers",
        _ADDRESSES,
        (),
        _names,
        description="who of the provider's people may look",
    ),
    Setting(
        "dashboard",
        "editors",
        _ADDRESSES,
        (),
        _names,
        description="who of them may also change alerts",
    ),
    Setting(
        "dashboard",
        "content",
        "everyone, editors or nobody",
        "everyone",
        _audience,
        description="who may read what agents were told and said; the others have no Explore either",
    ),
)

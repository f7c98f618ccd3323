"""Allows SQL that only reads, as far as its words tell."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from taximeter.tools.denied import Denied

_STARTS: Final = frozenset({"select", "with", "values", "show", "describe", "desc", "explain"})
_WRITES: Final = frozenset(
    [
        "alter",
        "backup",
        "bulk",
        "create",
        "dbcc",
        "delete",
        "deny",
        "drop",
        "dumpfile",
        "exec",
        "execute",
        "grant",
        "insert",
        "into",
        "kill",
        "merge",
        "outfile",
        "reconfigure",
        "restore",
        "revoke",
        "shutdown",
        "trigger",
        "truncate",
        "update",
        "updatetext",
        "upsert",
        "waitfor",
        "writetext",
    ]
)
"""What can write inside of a statement that begins as a read: CTEs, SELECT INTO, T-SQL's batches."""
_FILE: Final = re.compile(
    r"/|\.(csv|tsv|parquet|json|jsonl|ndjson|db|duckdb|sqlite|xlsx?|txt|gz|zst)$", re.IGNORECASE
)
"""What DuckDB reads as a file where a table is due."""
_ENDS_FROM: Final = frozenset(
    ["where", "group", "order", "having", "limit", "select", "union", "on", "window", "qualify"]
)
_RISKY_FUNCTIONS: Final = re.compile(
    r"""(pg_(read|ls|stat_file|sleep|terminate|cancel|reload|rotate|write|file|logical|create|drop
        |switch|start|stop|promote|advisory|try_advisory|replication|import|notify|wal)\w*
    |lo_\w+|dblink\w*|set_config|setval|nextval|query_to_xml\w*|database_to_xml\w*
    |table_to_xml\w*|schema_to_xml\w*|cursor_to_xml\w*|xpath_table|txid_current|pg_notify
    |load_file|sleep|benchmark|get_lock|release_lock\w*|sys_exec|sys_eval
    |load_extension|readfile|writefile|edit|fts3_tokenizer|zipfile|fsdir
    |read_\w+|\w*_scan|glob|getenv|sniff_csv|parquet_\w+|which_secret|duckdb_secrets|query|query_table
    |write_\w+|copy_\w+|iceberg_\w+|delta_\w+|st_read\w*|http_\w+|url|file|s3|remote\w*|cluster\w*
    |mysql|postgresql|sqlite|jdbc|odbc|hdfs|input|executable|azureblobstorage
    |xp_\w+|sp_\w+|openrowset|openquery|opendatasource|utl_\w+|dbms_\w+|sys_context
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_TOKEN: Final = re.compile(
    r"""(?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`)
    |(?P<comment>--|/\*|\*/|\#)
    |(?P<dollar>\$(?:[A-Za-z_]\w*)?\$)
    |(?P<word>[^\W\d]\w*)
    |(?P<rest>.)""",
    re.VERBOSE | re.DOTALL,
)


class ReadOnlySql:
    """Allows one statement that reads, by a list of words and functions; comments are refused.

    It reads words, not the database's grammar: a function or a view of yours that writes passes. So
    give the tool a connection that can't write as well, and see this as the clear refusal before.
    """

    def __init__(self, *, functions: Iterable[str] = ()) -> None:
        """``functions`` are allowed although their name is on the list of risky ones."""
        self._functions = frozenset(name.lower() for name in functions)

    def check(self, value: Any) -> str:
        """Return the statement. Raises Denied."""
        if not isinstance(value, str) or not value.strip():
            raise Denied("SQL must be text, and not empty.")
        if "\0" in value:
            raise Denied("The SQL is not allowed: it has control characters.")
        tokens = [(str(m.lastgroup), m.group()) for m in _TOKEN.finditer(value)]
        tokens = [token for token in tokens if not token[1].isspace()]
        while tokens and tokens[-1] == ("rest", ";"):
            tokens.pop()
        self._check_form(tokens)
        self._check_words(tokens)
        return value

    def _check_form(self, tokens: list[tuple[str, str]]) -> None:
        for kind, text in tokens:
            if kind == "comment":
                raise Denied("The SQL is not allowed: leave comments out.")
            if kind == "dollar":
                raise Denied("The SQL is not allowed: write texts in single quotes, not in $$.")
            if text == ";":
                raise Denied("The SQL is not allowed: only one statement at a time.")
            # Databases differ in whether it ends the text there.
            if (kind == "text" and "\\" in text) or text in "'\"`\\":
                raise Denied(
                    "The SQL is not allowed: backslashes and open quotes are not read alike."
                )
        first = next((text for _, text in tokens if text != "("), "").lower()
        if first not in _STARTS:
            raise Denied(f"The SQL is not allowed: {first[:30]!r} does not only read.")

    def _check_words(self, tokens: list[tuple[str, str]]) -> None:
        in_from = [False]
        """Of each open bracket: whether tables are due."""
        for place, (kind, text) in enumerate(tokens):
            name = text.strip("'\"`").lower()
            if text == "(":
                in_from.append(in_from[-1])
            elif text == ")" and len(in_from) > 1:
                in_from.pop()
            elif kind == "word" and name in ("from", "join"):
                in_from[-1] = True
            elif kind == "word" and name in _ENDS_FROM:
                in_from[-1] = False
            elif kind == "text" and in_from[-1] and _FILE.search(name):
                raise Denied("The SQL is not allowed: it reads a file.")
            if kind == "word" and name in _WRITES:
                raise Denied(f"The SQL is not allowed: {text[:30]!r} does not only read.")
            is_call = place + 1 < len(tokens) and tokens[place + 1][1] == "("
            if is_call and text[0] != "'" and self._is_risky(name):
                raise Denied(f"The SQL is not allowed: it calls {name[:60]}().")

    def _is_risky(self, name: str) -> bool:
        return name not in self._functions and _RISKY_FUNCTIONS.fullmatch(name) is not None

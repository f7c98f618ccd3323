"""The package's SQL: file name in, statements out."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def read_sql(name: str) -> str:
    """Return ``sql/<name>.sql`` as text."""
    return (
        resources.files("taximeter_collector")
        .joinpath(f"sql/{name}.sql")
        .read_text(encoding="utf-8")
    )


def sql_names(folder: str) -> list[str]:
    """Return the names below ``sql/<folder>/``, sorted, in the form `read_sql` takes."""
    files = resources.files("taximeter_collector").joinpath(f"sql/{folder}").iterdir()
    return sorted(f"{folder}/{file.name[:-4]}" for file in files if file.name.endswith(".sql"))

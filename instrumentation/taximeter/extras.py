"""Which parts are installed: a command whose packages are missing says what to install."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

# The packages that tell an extra is there; each part's own list is in pyproject.toml.
_NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "collector": ("duckdb", "grpc", "pyarrow", "starlette", "uvicorn", "ptars"),
    "alerts": ("apscheduler", "httpx", "yaml", "pyarrow"),
    "dashboard": ("streamlit", "plotly", "pandas", "pyarrow"),
    "demo": ("anthropic", "openai"),
    "parquet": ("pyarrow",),
    "explain": ("duckdb", "pyarrow"),
    "backup": ("duckdb", "pyarrow"),
    "restore": ("duckdb", "pyarrow"),
    "export": ("duckdb", "pyarrow"),
    "import": ("duckdb", "pyarrow"),
    "reconcile": ("duckdb", "pyarrow"),
    "repair": ("duckdb", "pyarrow"),
}
_EXTRA: Final = {"demo": "all"}
_NAME: Final = {"parquet": "Parquet"}


def missing_extra(part: str) -> str | None:
    """Return the sentence that says what to install for a part; None if nothing is missing."""
    missing = [package for package in _NEEDED[part] if find_spec(package) is None]
    if not missing:
        return None
    who = _NAME.get(part, f"`taximeter {part}`")
    extra = _EXTRA.get(part, "server")
    return f'{who} needs {", ".join(missing)}: pip install "taximeter[{extra}]"'

"""The collector's command line and settings: what `python -m taximeter_collector` was asked for."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from taximeter.settings.exposure import check_exposure
from taximeter.settings.settings import Settings, SettingsError, load_settings


def read_settings(arguments: Sequence[str] | None = None) -> Settings:
    """Return the settings for these arguments. Raises SettingsError."""
    parser = argparse.ArgumentParser(
        prog="taximeter collector", description="Takes OTLP in, keeps it, answers queries."
    )
    parser.add_argument("--config", metavar="FILE", help="taximeter.toml")
    parser.add_argument("--data-dir", metavar="DIR", help="where the data lies")
    parser.add_argument(
        "--insecure", action="store_true", help="listen beyond loopback without TLS"
    )
    given = parser.parse_args(arguments)
    wanted = {"TAXIMETER_COLLECTOR_INSECURE": "true"} if given.insecure else {}
    settings = load_settings(given.config, os.environ | wanted, data_dir=given.data_dir)
    check_exposure(settings.collector)
    if not settings.store.url.startswith("duckdb:"):
        raise SettingsError(
            f"store.url = {settings.store.url}: this version keeps its data in DuckDB files only;"
            ' write "duckdb:".'
        )
    return settings

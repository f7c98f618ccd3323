"""The options of every command that asks a collector."""

from __future__ import annotations

import argparse


def add_reader_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``, ``--data-dir`` and ``--url``: which collector is asked."""
    parser.add_argument("--config", metavar="FILE", help="taximeter.toml")
    parser.add_argument("--data-dir", metavar="DIR", help="of the collector to ask")
    parser.add_argument("--url", help="of the collector to ask, when it is not on this machine")

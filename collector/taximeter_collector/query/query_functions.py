"""The SQL functions that a query may call: a closed list, so that a new DuckDB adds none unseen.

Left out on purpose: whatever reads files, settings, variables, secrets or the catalog, sleeps,
logs, takes a statement as text, turns raw bytes into internal states, or needs time or memory that
grows with the square of a value's length (edit distances, indented JSON).
"""

from __future__ import annotations

import csv
from importlib import resources
from typing import Final

SCALAR_FUNCTIONS: Final = frozenset(
    resources.files(__package__).joinpath("query_functions.txt").read_text(encoding="utf-8").split()
)
"""Scalar, aggregate and window functions, and the names that operators have in the parser."""

SIZED_FUNCTIONS: Final = {
    "repeat": 1,
    "lpad": 1,
    "rpad": 1,
    "list_resize": 1,
    "array_resize": 1,
    "bar": 3,
    "approx_top_k": 1,
    "reservoir_quantile": 2,
    "equi_width_bins": 2,
    "to_base": 2,
}
"""Function -> position of the argument that sets how much memory it takes.

DuckDB builds one value outside its memory limit and can't be interrupted in it, so this argument
must be a small constant.
"""

REPLACING_FUNCTIONS: Final = {"replace": 2, "regexp_replace": 2}
"""Function -> position of the text that may take the place of every character of another."""

TEMPLATE_FUNCTIONS: Final = frozenset({"printf", "format"})
"""Functions whose first argument may hold a width; it must be a constant with small numbers."""

RESULTS: Final = {
    row["function"]: (row["result"], int(row["times"]))
    for row in csv.DictReader(
        resources.files(__package__).joinpath("query_sizes.csv").read_text("utf-8").splitlines()
    )
}
"""Function -> what its result holds, and how many times longer than that it may be.

`joins`: all arguments; `gathers`: the values of many rows; `keeps`: one argument; `short`: a number.
What is not named keeps.
"""

TABLE_FUNCTIONS: Final = frozenset({"range", "generate_series", "unnest", "json_each", "json_tree"})

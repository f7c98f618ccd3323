"""Owns the price tables in the in-memory catalog: one row a box of a price key.

Names are resolved once a combination, in Python, by the same catalogue that the shim uses; the
pricing of calls is then an integer join (`sql/derive/30_price.sql`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Final

import duckdb
import pyarrow as pa

from taximeter.pricing import FIELDS, Catalog, Resolution, load_catalog
from taximeter.pricing.bands import DAY_S
from taximeter.pricing.traffic import TRAFFIC_KEYS, TrafficRule

Combination = tuple[str | None, str, str, bool, str | None, str | None]
"""provider_raw, model, tier, is_batch, region_class, server_address"""

_BAND_SCHEMA: Final = pa.schema(
    [("price_key", pa.int32())]
    + [(name, pa.int64()) for name in ("valid_from", "valid_to")]
    + [(name, pa.int32()) for name in ("tod_from", "tod_to", "dow_mask")]
    + [(name, pa.int64()) for name in ("gt_prompt", "le_prompt")]
    + [(f"p_{name}", pa.int64()) for name in FIELDS]
    + [("source", pa.string()), ("quality", pa.string()), ("all_day", pa.bool_())]
)
_KEY_SCHEMA: Final = pa.schema(
    [("price_key", pa.int32())]
    + [(name, pa.string()) for name in ("provider_id", "model_id", "context")]
)
_ALIAS_SCHEMA: Final = pa.schema(
    [(name, pa.string()) for name in ("provider_raw", "model", "tier")]
    + [("is_batch", pa.bool_())]
    + [(name, pa.string()) for name in ("region_class", "server_address", "provider", "model_id")]
    + [("price_key", pa.int32()), ("match_quality", pa.string())]
)
_RULE_SCHEMA: Final = pa.schema(
    [("rank", pa.int32()), ("kind", pa.string()), ("value", pa.string()), ("source", pa.string())]
    + [(key, pa.list_(pa.string())) for key in TRAFFIC_KEYS]
)
_TABLES: Final = {
    "price_key": _KEY_SCHEMA,
    "price_band": _BAND_SCHEMA,
    "model_alias": _ALIAS_SCHEMA,
    "traffic_rule": _RULE_SCHEMA,
}


class PriceBook:
    """The price tables of one DuckDB instance."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        override_path: Path | None = None,
        *,
        is_trial: bool = False,
    ) -> None:
        """Create the tables, for a trial as temporary ones of ``con`` that hide the others.

        Raises PriceFileError when the user's file is wrong.
        """
        self.catalog: Catalog = load_catalog(override_path)
        override = b"" if override_path is None else override_path.read_bytes()
        digest = hashlib.sha256(override).hexdigest()[:8] if override else "none"
        self.version = f"{self.catalog.version}, overrides {digest}"
        standard = _standard_prices(self.catalog)
        self._keys = dict(standard.keys)
        self._lock = Lock()
        for table, schema in _TABLES.items():
            con.register("empty", schema.empty_table())
            kind = "temp table" if is_trial else "table"
            con.execute(f"create or replace {kind} {table} as from empty")
            con.unregister("empty")
        _append(con, "traffic_rule", [_rule_row(*item) for item in enumerate(self.catalog.traffic)])
        _insert(con, "price_key", standard.price_key)
        _insert(con, "price_band", standard.price_band)

    def __str__(self) -> str:
        return self.version

    def resolve(
        self, cursor: duckdb.DuckDBPyConnection, combinations: Sequence[Combination]
    ) -> None:
        """Add rows to ``model_alias`` for combinations that it lacks; unknown ones get no key."""
        with self._lock:
            found = [(one, self._entry(one)) for one in combinations]
            self._add(cursor, [entry for _, entry in found if entry is not None])
            names = _ALIAS_SCHEMA.names
            rows = [
                dict(zip(names, (*one, *self._alias(one, entry)), strict=True))
                for one, entry in found
            ]
            _append(cursor, "model_alias", rows)

    def _entry(self, one: Combination) -> Resolution | None:
        provider_raw, model, tier, is_batch, region_class, server_address = one
        return self.catalog.resolve(
            provider_raw,
            model,
            tier=tier,
            batch=is_batch,
            region_class=region_class,
            server_address=server_address,
        )

    def _alias(
        self, one: Combination, entry: Resolution | None
    ) -> tuple[str | None, str, int | None, str | None]:
        if entry is None:
            return self.catalog.provider_of(one[0], one[1]), one[1], None, None
        provider = entry.provider.partition(">")[0]
        return provider, entry.model, self._keys[entry.key], entry.match_quality

    def _add(self, con: duckdb.DuckDBPyConnection, entries: Iterable[Resolution]) -> None:
        keys, bands = _rows_of(self.catalog, entries, self._keys)
        _append(con, "price_key", keys)
        _append(con, "price_band", bands)


@dataclass(frozen=True, slots=True)
class _Prices:
    keys: dict[str, int]
    price_key: pa.Table
    price_band: pa.Table


@lru_cache(maxsize=2)
def _standard_prices(catalog: Catalog) -> _Prices:
    """Return the rows of all entries of the lists, which take longer to make than all other tables."""
    numbers: dict[str, int] = {}
    keys, bands = _rows_of(catalog, catalog.standard_entries(), numbers)
    return _Prices(
        numbers,
        pa.Table.from_pylist(keys, _KEY_SCHEMA),
        pa.Table.from_pylist(bands, _BAND_SCHEMA),
    )


def _rows_of(
    catalog: Catalog, entries: Iterable[Resolution], numbers: dict[str, int]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Number the entries that have no number yet; return their rows of price_key and price_band."""
    keys: list[dict[str, Any]] = []
    bands: list[dict[str, Any]] = []
    for entry in entries:
        if entry.key in numbers:
            continue
        key = numbers[entry.key] = len(numbers)
        keys.append(
            {
                "price_key": key,
                "provider_id": entry.provider.partition(">")[0],
                "model_id": entry.model,
                "context": entry.context,
            }
        )
        bands += [_band_row(key, band) for band in catalog.bands(entry)]
    return keys, bands


def _band_row(key: int, band: Any) -> dict[str, Any]:
    row = {name: getattr(band, name) for name in _BAND_SCHEMA.names[1:8]}
    row |= {f"p_{name}": price for name, price in zip(FIELDS, band.prices, strict=True)}
    all_day = (band.tod_from, band.tod_to, band.dow_mask) == (0, DAY_S, 127)
    return row | {
        "price_key": key,
        "source": band.provenance,
        "quality": band.quality,
        "all_day": all_day,
    }


def _rule_row(rank: int, rule: TrafficRule) -> dict[str, Any]:
    said = {"rank": rank, "kind": rule.kind, "value": rule.value, "source": rule.source}
    return said | {key: rule.patterns(key) for key in TRAFFIC_KEYS}


def _append(con: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        _insert(con, table, pa.Table.from_pylist(rows, _TABLES[table]))


def _insert(con: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    con.register("new_rows", rows)
    con.execute(f"insert into {table} by name from new_rows")
    con.unregister("new_rows")

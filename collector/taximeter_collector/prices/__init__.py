"""The shim's price catalogue as tables that SQL joins by integer key."""

from taximeter_collector.prices.book import PriceBook

__all__ = ["PriceBook"]

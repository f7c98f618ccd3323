"""The shim's price catalogue as tables that SQL joins by integer key."""

from taximeter_collector.prices.book import PriceBook
from taximeter_collector.prices.calls import price_calls

__all__ = ["PriceBook", "price_calls"]

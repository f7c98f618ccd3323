"""What a model call costs: usage and a model's name in, integer pico-USD out. Standard library only.

The list prices are a snapshot made from genai-prices (`snapshot.json.gz`), then `prices.toml`
(facts of the providers that it lacks), then the user's override file. How: docs/prices.md.
"""

from taximeter.pricing.bands import FIELDS, Band, Cost
from taximeter.pricing.catalog import Catalog, load_catalog
from taximeter.pricing.price_file import PriceFileError
from taximeter.pricing.resolution import Resolution

__all__ = ["FIELDS", "Band", "Catalog", "Cost", "PriceFileError", "Resolution", "load_catalog"]

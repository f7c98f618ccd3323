"""A provider's own usage object in, a disjoint partition of its tokens out. Pure."""

from taximeter.usage.inference import infer_shape, open_usage
from taximeter.usage.partition import Usage
from taximeter.usage.shapes import SHAPES, normalise_usage

__all__ = ["SHAPES", "Usage", "infer_shape", "normalise_usage", "open_usage"]

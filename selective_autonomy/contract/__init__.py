"""One object that renders sessions for training and serving alike, and parses actions back."""

from selective_autonomy.contract.contract import Contract
from selective_autonomy.contract.rendering import Segment

__all__ = ["Contract", "Segment"]

"""Findings as plain JSON types: None for NaN and infinity, text for what JSON doesn't know."""

import math
from typing import Any

import numpy as np

__all__ = ["plain_json"]


def plain_json(value: Any) -> Any:
    """The same in dicts, lists, numbers, text, True, False and None."""
    if isinstance(value, dict):
        return {str(name): plain_json(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)

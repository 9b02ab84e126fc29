"""Values as JSON knows them: what is not a finite number is null."""

from __future__ import annotations

import math
from typing import Any


def plain(value: Any) -> Any:
    """Return ``value`` with tuples as lists, and infinite or missing numbers as None, all the way down."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

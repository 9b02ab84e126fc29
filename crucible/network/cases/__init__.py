"""The functions that vector files name, each as ``(inputs, params, expected) -> value`` over plain numbers and lists.

A case of kind ``property`` is met by returning what it names: a bool, or values by the names that its relations use.
"""

from __future__ import annotations

from crucible.network.cases import rewarding, synthesising, topics
from crucible.network.cases.reading import Case

FUNCTIONS: dict[str, Case] = {**synthesising.FUNCTIONS, **rewarding.FUNCTIONS, **topics.FUNCTIONS}

__all__ = ["FUNCTIONS", "Case"]

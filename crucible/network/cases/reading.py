"""Numbers of vector files: decimal strings become floats, lists of them arrays, ``null`` becomes NaN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from crucible.network.parameters import Parameters

Values = Mapping[str, Any]
Case = Callable[[Values, Values, Any], Any]

# what a vector file calls a parameter, where that differs from its field
_FIELDS = {
    "p": "p_norm",
    "c": "c_norm",
    "iterations": "gradient_descent_max_iters",
    "quantile": "initial_regret_quantile",
    "fee_importance": "fee_revenue_importance",
    "epsilon": "epsilon",
}


def array(values: Any) -> np.ndarray:
    """Return nested lists of numbers as floats; ``None`` becomes NaN."""
    return np.array(values, dtype=float)


def plain(value: Any) -> Any:
    """Return a decimal string as a float, and the same inside lists and mappings; other strings stay."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def parameters(params: Values, version: str = "0.6") -> Parameters:
    """Return the parameters that a case gives, with defaults for the rest."""
    known = {_FIELDS.get(name, name): value for name, value in params.items()}
    values = {name: value for name, value in known.items() if name in Parameters.__dataclass_fields__}
    if "gradient_descent_max_iters" in values:
        values["gradient_descent_max_iters"] = int(values["gradient_descent_max_iters"])
    return Parameters(version=version, **values)

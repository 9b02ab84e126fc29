"""Features that a user declares in a Python file beside the recipes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from crucible.errors import RecipeError
from crucible.features.feature import Feature
from crucible.settings import Settings


def module_features(name: str) -> tuple[Feature, ...]:
    """Return ``FEATURES`` of the file ``<recipes>/<name>.py``.

    The file is code that runs: it never travels with a model. A bundle carries the hash of what its features are made
    of, and a machine whose file is another refuses to serve it.

    Raises
    ------
    RecipeError
        If there is no such file, it fails, or it declares no features; with the place.
    """
    return _load(_path(name), module_digest(name))


def module_digest(name: str) -> str:
    """Return the SHA-256 (hex) of the file ``<recipes>/<name>.py``.

    Raises
    ------
    RecipeError
        If it cannot be read.
    """
    path = _path(name)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RecipeError(f"features.module: {path} cannot be read: {error.strerror or error}.") from error


def _path(name: str) -> Path:
    return Settings.load().recipes / f"{name}.py"


@lru_cache(maxsize=8)
def _load(path: Path, digest: str) -> tuple[Feature, ...]:
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    try:
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)  # noqa: S102  # user's own
    except Exception as error:  # somebody else's code may raise anything; the file must be named
        raise RecipeError(f"{path}{_line(error, path)}: {type(error).__name__}: {error}") from error
    found = getattr(module, "FEATURES", None)
    if not isinstance(found, tuple | list) or not found or not all(isinstance(item, Feature) for item in found):
        raise RecipeError(f"{path} must hold FEATURES, a tuple of crucible.features.feature.Feature.")
    # whatever else in the file a function calls is part of what it is
    return tuple(replace(item, code=f"sha256 {digest}") if item.function else item for item in found)


def _line(error: BaseException, path: Path) -> str:
    lines = [error.lineno] if isinstance(error, SyntaxError) and error.lineno else []
    trace = error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == str(path):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f", line {lines[-1]}" if lines else ""

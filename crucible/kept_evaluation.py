"""A verdict that was reached before, kept beside its predictions, and read while nothing has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import crucible
from crucible.process import write_atomic, write_json
from crucible.recipe import Recipe
from crucible.validation.verdict import Verdict

_FILE = "kept.json"
_INPUTS = ("predictions.parquet", "walk_forward.json", "deployment.parquet")


def key_of(folder: Path, recipe: Recipe, others: Sequence[str], tries: int) -> str:
    """Return what a verdict depends on, as a SHA-256 (hex).

    Parameters
    ----------
    folder : pathlib.Path
        The evaluation's.
    recipe : Recipe
        Gates and settings.
    others : sequence of str
        Evaluations that it is compared with: earlier looks at the same rows, and the champion's.
    tries : int
        Settings that were ever tried.
    """
    digest = hashlib.sha256(json.dumps([crucible.__version__, recipe.canonical(), list(others), tries]).encode())
    for name in _INPUTS:
        path = folder / name
        digest.update(hashlib.sha256(path.read_bytes() if path.exists() else b"").digest())
    return digest.hexdigest()


def keep(folder: Path, key: str, verdict: Verdict, plots: Mapping[str, bytes]) -> None:
    """Write the verdict and its pictures below ``folder``."""
    for name, png in plots.items():
        write_atomic(folder / "plots" / f"{name}.png", png)
    write_json(folder / _FILE, {"key": key, "verdict": verdict.to_json(), "plots": sorted(plots)})


def read_kept(folder: Path, key: str) -> tuple[Verdict, dict[str, bytes]] | None:
    """Return verdict and pictures if they were kept under ``key``; None if they were not, or cannot be read."""
    try:
        kept = json.loads((folder / _FILE).read_text())
        if kept["key"] != key or not (folder / "report.html").exists():
            return None
        plots = {name: (folder / "plots" / f"{name}.png").read_bytes() for name in kept["plots"]}
        return Verdict.from_json(kept["verdict"]), plots
    except (OSError, ValueError, KeyError):
        return None  # then it is reached again

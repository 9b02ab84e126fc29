"""Fits that run side by side: in this process, in processes of this machine, or on a Dask cluster; same results."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from crucible.features.dataset import Dataset
from crucible.models.candidates import build_model
from crucible.process import write_atomic
from crucible.recipe import Recipe
from crucible.validation.weights import normalised, row_weights

_T = TypeVar("_T")
_RETRIES = 3


@dataclass(frozen=True)
class Rows:
    """The matrix that fits read: in memory, or as files that other processes map.

    Attributes
    ----------
    x : numpy.ndarray
        Shape (n, k), float32: half the memory, and more digits than any of it has.
    y, close : numpy.ndarray
        Shape (n,), float64: target, and price at the prediction time.
    scale : numpy.ndarray
        Shape (n,), float64: standard deviation of the target as known at the prediction time.
    names : tuple of str
        The k features.
    weight : numpy.ndarray, optional
        Shape (n,), float64: how much each row counts in a fit; equally by default.
    """

    x: np.ndarray
    y: np.ndarray
    close: np.ndarray
    scale: np.ndarray
    names: tuple[str, ...]
    weight: np.ndarray | None = None


def rows_of(dataset: Dataset, recipe: Recipe) -> Rows:
    """Return what fits of ``recipe`` read of ``dataset``."""
    return Rows(
        np.ascontiguousarray(dataset.x, dtype=np.float32), dataset.y, dataset.close,
        known_scale(dataset.y, recipe.horizon_bars), dataset.names,
        row_weights(recipe, dataset.times),
    )  # fmt: skip


def known_scale(y: np.ndarray, horizon_bars: int) -> np.ndarray:
    """Return a standard deviation of the target from targets that were over by then, shape (n,).

    Exponentially weighted squares with a centre of mass of 50 horizons (at least 500 rows), lagged by the horizon;
    rows without any history take the first value that there is.
    """
    memory = max(50 * horizon_bars, 500)
    decay = memory / (memory + 1.0)
    from scipy.signal import lfilter

    squares = np.concatenate([np.full(min(horizon_bars, len(y)), np.nan), y[:-horizon_bars] ** 2])[: len(y)]
    first = float(np.mean(y[: memory // 4 + 1] ** 2)) or 1.0
    filled = np.where(np.isnan(squares), first, squares)
    smooth = lfilter([1 - decay], [1.0, -decay], filled, zi=[decay * first])[0]
    # the very first rows look at targets after them for their level; they are never tested
    return np.sqrt(np.maximum(smooth, 1e-12 * first))


@dataclass(frozen=True)
class SharedRows:
    """Where :class:`Rows` lie for other processes: one file per array below ``folder``, named by their contents."""

    folder: Path
    digest: str
    names: tuple[str, ...]

    @classmethod
    def write(cls, folder: Path, rows: Rows) -> SharedRows:
        """Write the arrays below ``folder``, unless they are there already."""
        arrays = {name: getattr(rows, name) for name in ("x", "y", "close", "scale")}
        arrays["weight"] = np.ones(len(rows.y)) if rows.weight is None else rows.weight
        digest = hashlib.sha256(b"".join(hashlib.sha256(a.tobytes()).digest() for a in arrays.values())).hexdigest()
        shared = cls(folder, digest[:16], rows.names)
        for name, values in arrays.items():
            path = shared.path(name)
            if not path.exists():
                write_atomic(path, values.tobytes())
        return shared

    def path(self, name: str) -> Path:
        """Return the file of an array."""
        return self.folder / f"{name}-{self.digest}.bin"

    def open(self) -> Rows:
        """Map the files; the same process maps them once."""
        return _mapped(self)


@lru_cache(maxsize=4)
def _mapped(shared: SharedRows) -> Rows:
    y, close, scale, weight = (np.fromfile(shared.path(name)) for name in ("y", "close", "scale", "weight"))
    x = np.memmap(shared.path("x"), dtype=np.float32, mode="r", shape=(len(y), len(shared.names)))
    return Rows(x, y, close, scale, shared.names, None if (weight == 1).all() else weight)


def open_rows(source: Rows | SharedRows) -> Rows:
    """Return the rows themselves."""
    return source.open() if isinstance(source, SharedRows) else source


def fit_and_predict(
    source: Rows | SharedRows, recipe: Recipe, name: str, found: Mapping[str, Any], train: np.ndarray, test: np.ndarray
) -> np.ndarray:
    """Fit candidate ``name``, not shrunk, on rows ``train``; return its predictions of ``test``, shape (len(test),)."""
    rows = open_rows(source)
    own = {key: value for key, value in found.get(name, {}).items() if key != "shrink"}
    model = build_model(name, recipe, rows.names, {**found, name: own})
    model.fit(rows.x[train], rows.y[train], weight=normalised(rows.weight, train))
    return model.predict(rows.x[test])


@dataclass(frozen=True)
class Crew:
    """Who does the fits.

    Attributes
    ----------
    workers : int
        Processes; 1 means this one. Each fit uses one thread, so results do not depend on it.
    scheduler : str
        Address of a Dask scheduler, ``tcp://host:port``, in place of processes of this machine.
    """

    workers: int = 1
    scheduler: str = ""

    def run(self, function: Callable[..., _T], jobs: Sequence[tuple[Any, ...]]) -> Iterator[_T]:
        """Yield what ``function`` returns for each of ``jobs``, in their order."""
        if self.scheduler:
            yield from self._on_cluster(function, jobs)
        elif self.workers == 1:
            yield from (function(*job) for job in jobs)
        else:
            yield from self._executor().map(function, *zip(*jobs, strict=True), chunksize=1)

    def _executor(self) -> Any:
        from joblib.externals.loky import get_reusable_executor  # started anew, never forked: LightGBM hangs after fork

        return get_reusable_executor(max_workers=self.workers, timeout=60)

    def _on_cluster(self, function: Callable[..., _T], jobs: Sequence[tuple[Any, ...]]) -> Iterator[_T]:
        import distributed

        # not by joblib's backend, which forgets the tasks of a worker that dies; the scheduler gives them to another
        with distributed.Client(self.scheduler, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            futures = [client.submit(function, *job, pure=False, retries=_RETRIES) for job in jobs]
            for future in futures:
                yield future.result()

    def attempt(self, function: Callable[..., _T], jobs: Sequence[tuple[Any, ...]], seconds: float) -> list[_T | str]:
        """Return what ``function`` returns for each of ``jobs``, or why a process was lost with it.

        A job that crashes its process, or hangs longer than ``seconds``, costs only itself: the processes are killed,
        and the others are run again.
        """
        if self.workers == 1 or self.scheduler:
            return list(self.run(function, jobs))
        from concurrent.futures import TimeoutError as Hung

        from joblib.externals.loky.process_executor import BrokenProcessPool

        found: dict[int, _T | str] = {}

        def wait(waiting: Sequence[int], *, together: bool) -> list[int]:
            """Run jobs; return those that were lost with another one's process."""
            executor = self._executor()
            futures = {index: executor.submit(function, *jobs[index]) for index in waiting}
            for position, index in enumerate(waiting):
                try:
                    found[index] = futures[index].result(timeout=seconds)
                except (Hung, BrokenProcessPool) as error:
                    executor.shutdown(kill_workers=True)
                    if together:
                        return list(waiting[position:])
                    found[index] = "it hung" if isinstance(error, Hung) else "its process died"
            return []

        for index in wait(range(len(jobs)), together=True):
            wait([index], together=False)  # one by one: whoever is lost now is to blame
        return [found[index] for index in range(len(jobs))]

"""What a topic remembers of its inferers, its forecasters and its reputers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from crucible.network.masks import some

_PER_ACTOR = ("score_ema", "fractions", "inclusions", "listening")


@dataclass(frozen=True)
class Actors:
    """The known participants of one kind, in the order of their addresses; leading axes are scenarios.

    Attributes
    ----------
    names : tuple of str
        Addresses, ascending.
    score_ema : numpy.ndarray
        Shape (..., n): moving average of scores; NaN where there is none so far. It decides on admission only.
    fractions : numpy.ndarray
        Shape (..., n): the smoothed reward fraction to go on from; NaN where there is none.
    inclusions : numpy.ndarray
        Shape (..., n): how often a reward of at least one base unit was paid.
    listening : numpy.ndarray
        Shape (..., n): listening coefficients, at first 1; they mean something for reputers only.
    window : numpy.ndarray
        Shape (..., samples): the newest scores, newest epoch first and in the order of workers inside an epoch; NaN
        where there are fewer.
    quantile : numpy.ndarray
        Shape (...,): of the scores of the last rewarded epoch, at first 0.
    """

    names: tuple[str, ...]
    score_ema: np.ndarray
    fractions: np.ndarray
    inclusions: np.ndarray
    listening: np.ndarray
    window: np.ndarray
    quantile: np.ndarray

    @classmethod
    def none(cls, samples: int, batch: tuple[int, ...] = ()) -> Actors:
        """Return nobody, with room for ``samples`` scores, in scenarios of shape ``batch``."""
        empty = np.zeros((*batch, 0))
        return cls((), empty, empty, empty, empty, np.full((*batch, samples), np.nan), np.zeros(batch))

    def enrolled(self, names: tuple[str, ...]) -> tuple[Actors, np.ndarray]:
        """Return the actors with the new ones among ``names``, and where each of the known ones stands now."""
        every = tuple(sorted({*self.names, *names}))
        index = {name: place for place, name in enumerate(every)}
        old = np.array([index[name] for name in self.names], dtype=int)
        shape = (*self.quantile.shape, len(every))
        blank = {"score_ema": np.nan, "fractions": np.nan, "inclusions": 0.0, "listening": 1.0}
        grown = {}
        for field, value in blank.items():
            grown[field] = np.full(shape, value)
            grown[field][..., old] = getattr(self, field)
        return replace(self, names=every, **grown), old

    def places(self, names: tuple[str, ...]) -> np.ndarray | None:
        """Return where ``names``, all known, stand; ``None`` if they are everybody."""
        if names == self.names:
            return None
        index = {name: place for place, name in enumerate(self.names)}
        return np.array([index[name] for name in names], dtype=int)

    def taken(self, places: np.ndarray | None) -> Actors:
        """Return only those at ``places``; all for ``None``."""
        if places is None:
            return self
        chosen = {field: getattr(self, field)[..., places] for field in _PER_ACTOR}
        return replace(self, names=tuple(self.names[place] for place in places), **chosen)

    def put(self, places: np.ndarray | None, changed: Actors) -> Actors:
        """Return the actors with those at ``places`` replaced by ``changed``."""
        if places is None:
            return changed
        merged = {}
        for field in _PER_ACTOR:
            merged[field] = getattr(self, field).copy()
            merged[field][..., places] = getattr(changed, field)
        return replace(changed, names=self.names, **merged)

    def stored_scores(self, scores: np.ndarray) -> np.ndarray:
        """Return the window after an epoch with ``scores`` (..., n); of one epoch at most the last ones are kept.

        A worker without a score (NaN) takes no place. Source: ``keeper.go:3038-3110``.
        """
        samples = self.window.shape[-1]
        absent = np.isnan(scores)
        if not some(absent):
            newest = scores[..., max(scores.shape[-1] - samples, 0) :]
            return np.concatenate([newest, self.window], axis=-1)[..., :samples]
        # of those who have one, the last ones; then all gaps move behind the scores, whose order stays
        behind = np.cumsum(~absent[..., ::-1], axis=-1)[..., ::-1]
        newest = np.where(behind > samples, np.nan, scores)
        every = np.concatenate([newest, self.window], axis=-1)
        order = np.argsort(np.isnan(every), axis=-1, kind="stable")[..., :samples]
        return np.take_along_axis(every, order, axis=-1)

"""Where each quantity of an epoch stands in one flat vector, and who takes part in which of its networks.

An epoch of n inferers and K forecasters has 2 + n + 2K networks: the combined one, the naive one, one without each
inferer, one without each forecaster, and one with each single forecaster. Their inferences, and later their losses,
come first in the vector; then those of the n inferers and the K implied inferences; then each implied inference with
one inferer withheld. Regrets are a matrix of networks by workers: the nine families of the chain are its blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

COMBINED, NAIVE = 0, 1


@dataclass(frozen=True)
class Members:
    """Who belongs to each of several sets, ready for arithmetic; arrays of shape (..., sets, workers).

    Attributes
    ----------
    share : numpy.ndarray
        1 for a member and 0 for everybody else.
    penalty : numpy.ndarray
        0 for a member and −∞ for everybody else: added to a regret it takes a worker out of the set.
    count : numpy.ndarray
        Shape (..., sets): the number of members, as a float and at least 1.
    """

    share: np.ndarray
    penalty: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, chosen: np.ndarray) -> Members:
        """Return the sets whose members are ``chosen``, bool (..., sets, workers)."""
        share = chosen.astype(float)
        return cls(share, np.where(chosen, 0.0, -np.inf), np.maximum(share.sum(-1), 1.0))


@dataclass(frozen=True)
class Layout:
    """The places of an epoch of ``n`` inferers and ``k`` forecasters; make it with :func:`layout`.

    Attributes
    ----------
    rows, columns : int
        Networks, and workers (inferers first).
    reported, size : int
        Length of the vector without and with the implied inferences that have one inferer withheld.
    one_out_inferers, one_out_forecasters, one_in_forecasters, inferers, implied, implied_one_outs : slice
        Places in the vector; the first three are also rows of the regret matrix. The last is forecaster major.
    """

    n: int
    k: int
    rows: int
    columns: int
    reported: int
    size: int
    one_out_inferers: slice
    one_out_forecasters: slice
    one_in_forecasters: slice
    inferers: slice
    implied: slice
    implied_one_outs: slice

    @cached_property
    def kept(self) -> np.ndarray:
        """Bool, (rows, columns): the regrets that the chain stores; a withheld worker has one too."""
        kept = np.ones((self.rows, self.columns), dtype=bool)
        kept[NAIVE, self.n :] = False
        kept[self.one_in_forecasters, self.n :] = np.eye(self.k, dtype=bool)
        return kept

    @cached_property
    def members(self) -> Members:
        """Who takes part in each network, shape (rows, columns)."""
        chosen = self.kept.copy()
        chosen[self.one_out_inferers, : self.n] = ~np.eye(self.n, dtype=bool)
        chosen[self.one_out_forecasters, self.n :] = ~np.eye(self.k, dtype=bool)
        return Members.of(chosen)

    @cached_property
    def withheld(self) -> Members:
        """Inferers of n + 1 sets, shape (n + 1, n): set 0 has all of them, set 1 + j all but j."""
        chosen = np.ones((self.n + 1, self.n), dtype=bool)
        chosen[1:] = ~np.eye(self.n, dtype=bool)
        return Members.of(chosen)


def _slices(*lengths: int) -> Iterator[slice]:
    start = 0
    for length in lengths:
        yield slice(start, start + length)
        start += length


@lru_cache(maxsize=256)
def layout(n: int, k: int) -> Layout:
    """Return the :class:`Layout` of ``n`` inferers and ``k`` forecasters."""
    rows, columns = 2 + n + 2 * k, n + k
    places = _slices(2, n, k, k, n, k, k * n)
    _, one_out_inferers, one_out_forecasters, one_in_forecasters, inferers, implied, implied_one_outs = places
    reported = rows + columns
    return Layout(
        n=n,
        k=k,
        rows=rows,
        columns=columns,
        reported=reported,
        size=reported + k * n,
        one_out_inferers=one_out_inferers,
        one_out_forecasters=one_out_forecasters,
        one_in_forecasters=one_in_forecasters,
        inferers=inferers,
        implied=implied,
        implied_one_outs=implied_one_outs,
    )

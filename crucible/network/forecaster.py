"""A forecaster: learns from the network's losses which inferer will do well when, and says so as forecast losses.

What it forecasts is relative: by how much an inferer's log10 loss will differ from the mean of all. A ridge regression,
one for all inferers, that forgets slowly, weighs what is known of each: its long-run level, how far it has been off
that lately, how far it stands apart from the others now, and what the state of the whole field says of it. The last is
the regime: the directions in which inferers' losses move together are the leading eigenvectors of their covariance, and
the latest losses of all, seen along them, tell of each inferer what its own losses alone would tell too late.

The level of a forecast is not free. The network divides forecast regrets by their own deviation, so only the level
decides how sharply it weighs: it is chosen so that the weights that the network will give are as close as can be to
those of least squared error.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from crucible.errors import MechanismError
from crucible.network.parameters import Parameters
from crucible.network.weights import normalised_weights

FEATURES = ("level", "recent", "latest", "regime, recent", "regime, latest", "disagreement")
_FORMAT = "crucible-forecaster-1"
_LEVELS = np.linspace(-2.0, 15.0, 69)  # the best inferer's normalised regret: from sharp to all alike
_CLIP = 3.0  # orders of magnitude: a loss further from the mean counts as this far
_NEAR = 0.1  # of the spread of inferences: closer to their median than this is all the same


@dataclass(frozen=True)
class Memory:
    """How fast a forecaster forgets; all per epoch.

    Attributes
    ----------
    slow, fast : float
        Of the long-run and of the recent relative losses, and ``slow`` of their covariance.
    forgetting : float
        What the regression keeps of what it has seen.
    ridge : float
        How much seen rows count against the prior, by which an inferer's level is its forecast.
    components : int
        How many directions make up the regime.
    """

    slow: float = 0.02
    fast: float = 0.3
    forgetting: float = 0.995
    ridge: float = 50.0
    components: int = 2

    def __post_init__(self) -> None:
        for name in ("slow", "fast", "forgetting"):
            if not 0 < getattr(self, name) <= 1:
                raise MechanismError(f"{name} is {getattr(self, name)}; it must be above 0 and at most 1")
        if not self.ridge > 0 or self.components < 0:
            raise MechanismError("the ridge must be above 0, and the components not negative")


@dataclass(frozen=True)
class Forecaster:
    """What a forecaster knows; :meth:`learned` returns one that knows an epoch more.

    Attributes
    ----------
    memory : Memory
        How fast it forgets.
    names : tuple of str
        The inferers that it has met, ascending.
    level, recent, latest : numpy.ndarray
        Shape (n,): relative log10 losses in the long run, lately, and when last seen.
    seen : numpy.ndarray
        Shape (n,): in how many epochs.
    covariance : numpy.ndarray
        Shape (n, n): of recent deviations from the level.
    squares, products : numpy.ndarray
        Shapes (features, features) and (features,): sums of the regression.
    mean_loss : float
        Moving average of the mean log10 loss; NaN at first.
    """

    memory: Memory
    names: tuple[str, ...]
    level: np.ndarray
    recent: np.ndarray
    latest: np.ndarray
    seen: np.ndarray
    covariance: np.ndarray
    squares: np.ndarray
    products: np.ndarray
    mean_loss: float

    @classmethod
    def new(cls, memory: Memory | None = None) -> Forecaster:
        """Return one that knows nothing."""
        none, p = np.zeros(0), len(FEATURES)
        held = memory or Memory()
        squares, products = np.zeros((p, p)), np.zeros(p)
        return cls(held, (), none, none, none, none, np.zeros((0, 0)), squares, products, float("nan"))

    @property
    def coefficients(self) -> np.ndarray:
        """What each of :data:`FEATURES` counts, shape (features,); at first the level 1 and the others 0."""
        prior = np.zeros(len(FEATURES))
        prior[0] = 1.0
        ridge = self.memory.ridge * np.eye(len(FEATURES))
        return np.linalg.solve(self.squares + ridge, self.products + ridge @ prior)

    def relative(self, names: tuple[str, ...], inferences: np.ndarray) -> np.ndarray:
        """Return by how much each inferer's log10 loss is expected to differ from the mean of all, shape (n,).

        Parameters
        ----------
        names : tuple of str
            Inferers of the epoch, ascending.
        inferences : numpy.ndarray
            Shape (n,): theirs, or the last known ones; NaN where nothing is known.
        """
        known = self._met(names)
        return known._features(names, inferences) @ self.coefficients

    def forecast(
        self, names: tuple[str, ...], inferences: np.ndarray, network_loss: float, params: Parameters
    ) -> np.ndarray:
        """Return forecast log10 losses, shape (n,).

        Parameters
        ----------
        names, inferences
            As for :meth:`relative`.
        network_loss : float
            log10: of the combined network in the last completed epoch, against which the network will hold the
            forecast; NaN before the first, when the level is that of the losses so far.
        params : Parameters
            Of the topic: they say how the network makes weights of forecasts.
        """
        relative = self.relative(names, inferences)
        if np.isnan(network_loss):
            return relative + (0.0 if np.isnan(self.mean_loss) else self.mean_loss)
        regrets = relative.min() - relative  # the best has 0, the others less
        scale = regrets.std(ddof=1) + params.epsilon if len(names) > 1 else params.epsilon
        normalised = regrets / scale + _LEVELS[:, None]
        weights = normalised_weights(normalised.copy(), _LEVELS[:, None], params)
        # squared error of the weighted mean if errors are independent; of equals the softer weights
        error = (weights**2 @ 10**relative) / weights.sum(1) ** 2
        return network_loss - normalised[len(error) - 1 - int(np.argmin(error[::-1]))] * scale

    def learned(self, names: tuple[str, ...], inferences: np.ndarray, losses: np.ndarray) -> Forecaster:
        """Return a forecaster that has seen how an epoch ended.

        Parameters
        ----------
        names, inferences
            As for :meth:`relative`.
        losses : numpy.ndarray
            Shape (n,), log10: the network's losses of the inferers; NaN where there is none.

        Raises
        ------
        MechanismError
            Shapes that do not fit, names that do not ascend, or an infinite loss.
        """
        if losses.shape != (len(names),) or inferences.shape != losses.shape:
            raise MechanismError(f"{losses.size} losses and {inferences.size} inferences do not fit {len(names)} names")
        if list(names) != sorted(set(names)) or np.isinf(losses).any():
            raise MechanismError("names must ascend, each once, and losses be finite or NaN")
        here = ~np.isnan(losses)
        if here.sum() < 2:
            return self
        known, memory = self._met(names), self.memory
        mean = float(losses[here].mean())
        actual = np.clip(losses[here] - mean, -_CLIP, _CLIP)
        features = known._features(names, inferences)[here]
        at = known._places(names)[here]
        level, recent, latest, seen = (item.copy() for item in (known.level, known.recent, known.latest, known.seen))
        slow, fast = (np.maximum(alpha, 1 / (seen[at] + 1)) for alpha in (memory.slow, memory.fast))
        level[at] += slow * (actual - level[at])
        recent[at] += fast * (actual - recent[at])
        latest[at] = actual
        seen[at] += 1
        off = np.zeros(len(level))
        off[at] = actual - level[at]
        kept = 1 - max(memory.slow, 1 / float(seen.max()))
        return replace(
            known,
            level=level,
            recent=recent,
            latest=latest,
            seen=seen,
            covariance=kept * known.covariance + (1 - kept) * np.outer(off, off),
            squares=memory.forgetting * known.squares + features.T @ features,
            products=memory.forgetting * known.products + features.T @ actual,
            mean_loss=mean if np.isnan(known.mean_loss) else known.mean_loss + memory.slow * (mean - known.mean_loss),
        )

    def save(self) -> str:
        """Return everything as JSON text; :meth:`load` gives an equal forecaster."""
        held = {item.name: getattr(self, item.name) for item in fields(self)}
        plain: dict[str, Any] = {
            name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in held.items()
        }
        plain["memory"] = asdict(self.memory)
        plain["mean_loss"] = None if np.isnan(self.mean_loss) else self.mean_loss
        return json.dumps({"format": _FORMAT, **plain}, allow_nan=False)

    @classmethod
    def load(cls, text: str) -> Forecaster:
        """Return the forecaster of :meth:`save`.

        Raises
        ------
        MechanismError
            Text that is not of that kind.
        """
        try:
            held = json.loads(text)
            if held.pop("format") != _FORMAT:
                raise ValueError("another format")
            names, memory, loss = tuple(held.pop("names")), Memory(**held.pop("memory")), held.pop("mean_loss")
            n, p = len(names), len(FEATURES)
            shapes = {"covariance": (n, n), "squares": (p, p), "products": (p,)}
            arrays = {
                name: np.array(value, dtype=float).reshape(shapes.get(name, (n,))) for name, value in held.items()
            }
            if not all(np.isfinite(value).all() for value in arrays.values()):
                raise ValueError("a number that is not finite")
            return cls(memory=memory, names=names, mean_loss=float("nan") if loss is None else float(loss), **arrays)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise MechanismError(f"this is not the text of a forecaster ({error})") from error

    def _places(self, names: tuple[str, ...]) -> np.ndarray:
        index = {name: place for place, name in enumerate(self.names)}
        return np.array([index[name] for name in names], dtype=int)

    def _met(self, names: tuple[str, ...]) -> Forecaster:
        """Return the forecaster with room for new inferers, of whom the mean is expected."""
        if set(names) <= set(self.names):
            return self
        every = tuple(sorted({*self.names, *names}))
        old = [every.index(name) for name in self.names]
        grown: dict[str, Any] = {}
        for field in ("level", "recent", "latest", "seen"):
            grown[field] = np.zeros(len(every))
            grown[field][old] = getattr(self, field)
        covariance = np.zeros((len(every), len(every)))
        covariance[np.ix_(old, old)] = self.covariance
        return replace(self, names=every, covariance=covariance, **grown)

    def _features(self, names: tuple[str, ...], inferences: np.ndarray) -> np.ndarray:
        """Return what is known of each inferer, shape (n, features); ``names`` are all met."""
        at = self._places(names)
        recent, latest = self.recent - self.level, self.latest - self.level
        _, directions = np.linalg.eigh(self.covariance)
        leading = directions[:, len(self.names) - min(self.memory.components, len(self.names)) :]
        columns = (
            self.level, recent, latest, leading @ (leading.T @ recent), leading @ (leading.T @ latest),
        )  # fmt: skip
        return np.column_stack([*(column[at] for column in columns), _disagreement(inferences)])


def _disagreement(inferences: np.ndarray) -> np.ndarray:
    """Return how far each inference is from their median, log10 of squares, relative to the mean; shape (n,)."""
    here = ~np.isnan(inferences)
    far = np.zeros(inferences.shape)
    if here.sum() < 3:
        return far
    off = np.abs(inferences[here] - np.median(inferences[here]))
    spread = float(off.mean())
    if not spread > 0:
        return far
    logs = 2 * np.log10(off / spread + _NEAR)
    far[here] = logs - logs.mean()
    return far

"""Every number that the mechanism takes, with the chain's defaults and the rules of each protocol version."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from crucible.errors import MechanismError

VERSIONS = ("0.6", "0.8", "0.9", "0.10", "0.15", "0.16")


@dataclass(frozen=True)
class Parameters:
    """Module and topic parameters; the defaults are those of protocol version 0.6.

    Topic parameters have no default on the chain; here they have those of the research simulator.
    Make those of a later version with :meth:`of`, which also changes the defaults that the version changed.

    Raises
    ------
    MechanismError
        A version that is not in :data:`VERSIONS`, or a number outside its range.

    Notes
    -----
    Source: allora-chain c8a40c3, ``x/emissions/types/params.go`` and ``x/mint/types/params.go``. Symbols of the papers
    stand in the comments.
    """

    version: str = "0.6"

    # topic
    p_norm: float = 3.0  # p of the gradient that makes weights
    alpha_regret: float = 0.1
    epsilon: float = 0.01  # added to the deviation of regrets and scores
    merit_sortition_alpha: float = 0.1
    active_inferer_quantile: float = 0.25
    active_forecaster_quantile: float = 0.25
    active_reputer_quantile: float = 0.25

    # synthesis
    c_norm: float = 0.75
    epsilon_safe_div: float = 1e-7
    initial_regret_quantile: float = 0.25  # q0
    p_norm_safe_div: float = 8.25  # d0
    min_experienced: int = 1  # workers that must be experienced before the initial regret moves
    implied_one_out_losses: bool = False  # whether reputers report implied inferences with one inferer withheld

    # reputers
    learning_rate: float = 0.05  # eta
    gradient_descent_max_iters: int = 10
    max_gradient_threshold: float = 0.001
    min_stake_fraction: float = 0.5  # f_min
    epsilon_reputer: float = 0.01
    required_minimum_stake: float = 10_000.0

    # rewards
    task_reward_alpha: float = 0.1
    beta_entropy: float = 0.25
    p_reward_inference: float = 1.0
    p_reward_forecast: float = 3.0
    p_reward_reputer: float = 3.0
    c_reward_inference: float = 0.75
    c_reward_forecast: float = 0.75
    max_samples_to_scale_scores: int = 10

    # admission
    max_top_inferers: int = 32
    max_top_forecasters: int = 6
    max_top_reputers: int = 6
    max_elements_per_forecast: int = 12

    # topics and emission
    stake_importance: float = 0.5  # mu
    fee_revenue_importance: float = 0.5  # nu
    topic_reward_alpha: float = 0.5
    min_topic_weight: float = 100.0
    max_active_topics_per_block: int = 1
    blocks_per_month: int = 864_000
    validators_share: float = 0.25  # v
    f_emission: float = 0.025
    emission_smoothing: float = 0.1
    max_monthly_yield: float = 0.0095  # xi_max

    def __post_init__(self) -> None:
        if self.version not in VERSIONS:
            raise MechanismError(f"protocol version {self.version!r} is not known; choose one of {', '.join(VERSIONS)}")
        for name, value in vars(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise MechanismError(f"parameter {name} is {value}; it must be a finite number")
        for name in ("p_norm", "epsilon", "epsilon_safe_div", "epsilon_reputer", "learning_rate", "blocks_per_month"):
            if getattr(self, name) <= 0:
                raise MechanismError(f"parameter {name} is {getattr(self, name)}; it must be above 0")
        for name in ("alpha_regret", "task_reward_alpha", "topic_reward_alpha", "emission_smoothing"):
            if not 0 < getattr(self, name) <= 1:
                raise MechanismError(f"parameter {name} is {getattr(self, name)}; it must be above 0 and at most 1")
        quantiles = [name for name in vars(self) if name.endswith("quantile")]
        for name in (*quantiles, "merit_sortition_alpha", "min_stake_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise MechanismError(f"parameter {name} is {getattr(self, name)}; it must lie between 0 and 1")

    @classmethod
    def of(cls, version: str, **changes: Any) -> Parameters:
        """Return the defaults of protocol ``version`` with ``changes``.

        Version 0.8 changed the reward exponents to 3, 3, 1 and asks for 10 experienced workers before the initial
        regret moves. Which formulas a version changes is read from :attr:`version` itself.
        """
        defaults: dict[str, Any] = {}
        if version in VERSIONS and VERSIONS.index(version) >= VERSIONS.index("0.8"):
            defaults = {"p_reward_inference": 3.0, "p_reward_reputer": 1.0, "min_experienced": 10}
        return cls(version=version, **{**defaults, **changes})

    def since(self, version: str) -> bool:
        """Return whether the rules of ``version`` are in force."""
        return VERSIONS.index(self.version) >= VERSIONS.index(version)

    def score_window(self, top: int) -> int:
        """Return how many of the newest scores set the scale of rewards; ``top`` is the size of the active set.

        Ten scores (not ten epochs) in 0.6; ten epochs' worth of the largest set from 0.8 on.
        """
        return self.max_samples_to_scale_scores * (top if self.since("0.8") else 1)

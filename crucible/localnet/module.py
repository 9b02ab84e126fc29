"""The emissions module's parameters, as far as localnet acts on them, and the treasury that pays rewards."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from allora_sdk.rpc_client.protos.emissions import v9

from crucible.localnet.decimals import decimal_text
from crucible.network.parameters import Parameters


@dataclass
class Module:
    """Parameters with the chain's defaults.

    Attributes
    ----------
    block_emission : int
        What a block gives to all topics together, uallo. The chain recalculates it every month; here it is fixed.
    treasury : int
        What is left to give out, uallo.
    """

    registration_fee: int = 200
    data_sending_fee: int = 10
    create_topic_fee: int = 75_000
    minimum_stake: int = 10_000
    remove_stake_delay: int = 604_800
    least_epoch_length: int = 12
    largest_message: int = 1_000_000
    largest_string: int = 255
    page_limit: int = 100
    largest_page: int = 1_000
    block_emission: int = 10**18
    treasury: int = 359_500_000 * 10**18

    def params(self, mechanism: Parameters) -> v9.Params:
        """Return the answer to GetParams; ``mechanism`` has the numbers that a topic's formulas use."""
        m = mechanism
        return v9.Params(
            version="v10",
            max_serialized_msg_length=self.largest_message,
            min_topic_weight=decimal_text(m.min_topic_weight),
            required_minimum_stake=str(self.minimum_stake),
            remove_stake_delay_window=self.remove_stake_delay,
            min_epoch_length=self.least_epoch_length,
            beta_entropy=decimal_text(m.beta_entropy),
            learning_rate=decimal_text(m.learning_rate),
            max_gradient_threshold=decimal_text(m.max_gradient_threshold),
            min_stake_fraction=decimal_text(m.min_stake_fraction),
            max_unfulfilled_worker_requests=100,
            max_unfulfilled_reputer_requests=100,
            topic_reward_stake_importance=decimal_text(m.stake_importance),
            topic_reward_fee_revenue_importance=decimal_text(m.fee_revenue_importance),
            topic_reward_alpha=decimal_text(m.topic_reward_alpha),
            task_reward_alpha=decimal_text(m.task_reward_alpha),
            validators_vs_allora_percent_reward=decimal_text(m.validators_share),
            max_samples_to_scale_scores=m.max_samples_to_scale_scores,
            max_top_inferers_to_reward=m.max_top_inferers,
            max_top_forecasters_to_reward=m.max_top_forecasters,
            max_top_reputers_to_reward=m.max_top_reputers,
            create_topic_fee=str(self.create_topic_fee),
            gradient_descent_max_iters=m.gradient_descent_max_iters,
            registration_fee=str(self.registration_fee),
            default_page_limit=self.page_limit,
            max_page_limit=self.largest_page,
            min_epoch_length_record_limit=3,
            blocks_per_month=m.blocks_per_month,
            p_reward_inference=decimal_text(m.p_reward_inference),
            p_reward_forecast=decimal_text(m.p_reward_forecast),
            p_reward_reputer=decimal_text(m.p_reward_reputer),
            c_reward_inference=decimal_text(m.c_reward_inference),
            c_reward_forecast=decimal_text(m.c_reward_forecast),
            c_norm=decimal_text(m.c_norm),
            epsilon_reputer=decimal_text(m.epsilon_reputer),
            half_max_process_stake_removals_end_block=40,
            epsilon_safe_div=decimal_text(m.epsilon_safe_div),
            data_sending_fee=str(self.data_sending_fee),
            max_elements_per_forecast=m.max_elements_per_forecast,
            max_active_topics_per_block=m.max_active_topics_per_block,
            max_string_length=self.largest_string,
            initial_regret_quantile=decimal_text(m.initial_regret_quantile),
            p_norm_safe_div=decimal_text(m.p_norm_safe_div),
            global_whitelist_enabled=True,
            topic_creator_whitelist_enabled=False,
            min_experienced_worker_regrets=m.min_experienced,
            inference_outlier_detection_threshold="11",
            inference_outlier_detection_alpha="0.2",
            lambda_initial_score="2",
            global_worker_whitelist_enabled=True,
            global_reputer_whitelist_enabled=True,
            max_whitelist_input_array_length=2_000,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the parameters that :meth:`to_json` described."""
        return cls(**values)

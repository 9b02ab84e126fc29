"""Queries about scores, their averages, regrets, listening coefficients and reward fractions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from allora_sdk.rpc_client.protos.emissions import v3
from allora_sdk.rpc_client.protos.emissions import v10 as e

from crucible.localnet.decimals import decimal_text
from crucible.localnet.query_base import Queries
from crucible.localnet.topic import Nonce, Topic

_SCORES = {"inferer": "scores", "forecaster": "forecaster_scores", "reputer": "reputer_scores"}


class ScoreQueries(Queries):
    """Scores and what follows from them."""

    def methods(self) -> dict[str, Callable[[Any], Any]]:
        """Return the methods by name."""
        topic = self.topic
        return {
            "GetWorkerInferenceScoresAtBlock": lambda r: e.GetWorkerInferenceScoresAtBlockResponse(
                scores=v3.Scores(self._scores(r, self.nonce(r, r.block_height), "inferer"))
            ),
            "GetWorkerForecastScoresAtBlock": lambda r: e.GetWorkerForecastScoresAtBlockResponse(
                scores=v3.Scores(self._scores(r, self.nonce(r, r.block_height), "forecaster"))
            ),
            "GetReputersScoresAtBlock": lambda r: e.GetReputersScoresAtBlockResponse(
                scores=v3.Scores(self._scores(r, self.nonce(r, r.block_height), "reputer"))
            ),
            "GetInferenceScoresUntilBlock": lambda r: e.GetInferenceScoresUntilBlockResponse(
                scores=self._until(r, "inferer")
            ),
            "GetForecastScoresUntilBlock": lambda r: e.GetForecastScoresUntilBlockResponse(
                scores=self._until(r, "forecaster")
            ),
            "GetInfererScoreEma": lambda r: e.GetInfererScoreEmaResponse(score=self._average(r, "inferer", r.inferer)),
            "GetForecasterScoreEma": lambda r: e.GetForecasterScoreEmaResponse(
                score=self._average(r, "forecaster", r.forecaster)
            ),
            "GetReputerScoreEma": lambda r: e.GetReputerScoreEmaResponse(score=self._average(r, "reputer", r.reputer)),
            "GetPreviousTopicQuantileInfererScoreEma": lambda r: e.GetPreviousTopicQuantileInfererScoreEmaResponse(
                value=decimal_text(float(topic(r).mechanism.inferers.quantile))
            ),
            "GetPreviousTopicQuantileForecasterScoreEma": lambda r: (
                e.GetPreviousTopicQuantileForecasterScoreEmaResponse(
                    value=decimal_text(float(topic(r).mechanism.forecasters.quantile))
                )
            ),
            "GetPreviousTopicQuantileReputerScoreEma": lambda r: e.GetPreviousTopicQuantileReputerScoreEmaResponse(
                value=decimal_text(float(topic(r).mechanism.reputers.quantile))
            ),
            "GetCurrentLowestInfererScore": lambda r: e.GetCurrentLowestInfererScoreResponse(
                score=self._lowest(r, "inferer", "inferences")
            ),
            "GetCurrentLowestForecasterScore": lambda r: e.GetCurrentLowestForecasterScoreResponse(
                score=self._lowest(r, "forecaster", "forecasts")
            ),
            "GetCurrentLowestReputerScore": lambda r: e.GetCurrentLowestReputerScoreResponse(
                score=self._lowest(r, "reputer", "losses")
            ),
            "GetTopicInitialInfererEmaScore": lambda r: e.GetTopicInitialInfererEmaScoreResponse(score="0"),
            "GetTopicInitialForecasterEmaScore": lambda r: e.GetTopicInitialForecasterEmaScoreResponse(score="0"),
            "GetTopicInitialReputerEmaScore": lambda r: e.GetTopicInitialReputerEmaScoreResponse(score="0"),
            "GetListeningCoefficient": lambda r: e.GetListeningCoefficientResponse(
                listening_coefficient=v3.ListeningCoefficient(
                    decimal_text(self._of_actor(topic(r), "reputer", r.reputer, "listening", 1.0))
                )
            ),
            "GetPreviousInferenceRewardFraction": lambda r: e.GetPreviousInferenceRewardFractionResponse(
                **self._fraction(r, "inferer", r.worker)
            ),
            "GetPreviousForecastRewardFraction": lambda r: e.GetPreviousForecastRewardFractionResponse(
                **self._fraction(r, "forecaster", r.worker)
            ),
            "GetPreviousReputerRewardFraction": lambda r: e.GetPreviousReputerRewardFractionResponse(
                **self._fraction(r, "reputer", r.reputer)
            ),
            "GetCountInfererInclusionsInTopic": lambda r: e.GetCountInfererInclusionsInTopicResponse(
                count=int(self._of_actor(topic(r), "inferer", r.inferer, "inclusions", 0.0))
            ),
            "GetCountForecasterInclusionsInTopic": lambda r: e.GetCountForecasterInclusionsInTopicResponse(
                count=int(self._of_actor(topic(r), "forecaster", r.forecaster, "inclusions", 0.0))
            ),
            "GetInfererNetworkRegret": lambda r: e.GetInfererNetworkRegretResponse(
                regret=self._regret(r, ("combined",), ("inferer", r.actor_id))
            ),
            "GetForecasterNetworkRegret": lambda r: e.GetForecasterNetworkRegretResponse(
                regret=self._regret(r, ("combined",), ("forecaster", r.worker))
            ),
            "GetNaiveInfererNetworkRegret": lambda r: e.GetNaiveInfererNetworkRegretResponse(
                regret=self._regret(r, ("naive",), ("inferer", r.inferer))
            ),
            "GetOneInForecasterNetworkRegret": lambda r: e.GetOneInForecasterNetworkRegretResponse(
                regret=self._regret(r, ("only", r.forecaster), ("inferer", r.inferer))
            ),
            "GetOneOutInfererInfererNetworkRegret": lambda r: e.GetOneOutInfererInfererNetworkRegretResponse(
                regret=self._regret(r, ("without", r.one_out_inferer), ("inferer", r.inferer))
            ),
            "GetOneOutInfererForecasterNetworkRegret": lambda r: e.GetOneOutInfererForecasterNetworkRegretResponse(
                regret=self._regret(r, ("without", r.one_out_inferer), ("forecaster", r.forecaster))
            ),
            "GetOneOutForecasterInfererNetworkRegret": lambda r: e.GetOneOutForecasterInfererNetworkRegretResponse(
                regret=self._regret(r, ("without_forecaster", r.one_out_forecaster), ("inferer", r.inferer))
            ),
            "GetOneOutForecasterForecasterNetworkRegret": lambda r: (
                e.GetOneOutForecasterForecasterNetworkRegretResponse(
                    regret=self._regret(r, ("without_forecaster", r.one_out_forecaster), ("forecaster", r.forecaster))
                )
            ),
        }

    def _scores(self, request: Any, nonce: Nonce, kind: str) -> list[v3.Score]:
        found: dict[str, float] = getattr(nonce, _SCORES[kind])
        return [
            v3.Score(topic_id=request.topic_id, block_height=nonce.height, address=name, score=decimal_text(score))
            for name, score in sorted(found.items())
        ]

    def _until(self, request: Any, kind: str) -> list[v3.Score]:
        # the chain answers from a bounded number of past scores as well
        rows = [
            score
            for nonce in self.nonces(self.topic(request))
            if nonce.height <= request.block_height
            for score in self._scores(request, nonce, kind)
        ]
        return rows[-self.core.module.largest_page :]

    def _average(self, request: Any, kind: str, name: str) -> v3.Score:
        topic = self.topic(request)
        return v3.Score(
            topic_id=request.topic_id,
            block_height=topic.ema_nonces.get(f"{kind}:{name}", 0),
            address=name,
            score=decimal_text(topic.score_averages(kind).get(name, 0.0)),
        )

    def _lowest(self, request: Any, kind: str, field: str) -> v3.Score:
        topic = self.topic(request)
        averages = topic.score_averages(kind)
        for nonce in reversed(self.nonces(topic)):
            members = sorted(getattr(nonce, field))
            over = nonce.settled if kind == "reputer" else nonce.closed
            if members and not over:
                return self._average(request, kind, min(members, key=lambda name: averages.get(name, 0.0)))
        return v3.Score(topic_id=request.topic_id, score="0")

    def _of_actor(self, topic: Topic, kind: str, name: str, field: str, otherwise: float) -> float:
        actors = getattr(topic.mechanism, f"{kind}s")
        if name not in actors.names:
            return otherwise
        return float(getattr(actors, field)[actors.names.index(name)])

    def _fraction(self, request: Any, kind: str, name: str) -> dict[str, Any]:
        value = self._of_actor(self.topic(request), kind, name, "fractions", np.nan)
        known = bool(np.isfinite(value))
        return {"reward_fraction": decimal_text(value) if known else "0", "not_found": not known}

    def _regret(self, request: Any, network: tuple[str, ...], worker: tuple[str, str]) -> v3.TimestampedValue:
        topic = self.topic(request)
        state = topic.mechanism
        inferers, forecasters = state.inferers.names, state.forecasters.names
        n, k = len(inferers), len(forecasters)
        starts = {
            "without": (2, inferers),
            "without_forecaster": (2 + n, forecasters),
            "only": (2 + n + k, forecasters),
        }
        value = float(state.initial_regret)
        names = inferers if worker[0] == "inferer" else forecasters
        known = worker[1] in names and (len(network) == 1 or network[1] in starts[network[0]][1])
        if known:
            first, withheld = starts.get(network[0], (0, ()))
            row = first + withheld.index(network[1]) if len(network) > 1 else int(network[0] == "naive")
            stored = float(state.regrets[row, names.index(worker[1]) + (n if worker[0] == "forecaster" else 0)])
            value = stored if np.isfinite(stored) else value
        return v3.TimestampedValue(block_height=topic.epoch_last_ended, value=decimal_text(value))

"""The active sets of a nonce: who is let in, who is turned away although its transaction succeeds."""

from __future__ import annotations

from typing import Any

from allora_sdk.rpc_client.protos.emissions import v10 as e

from crucible.localnet.abci import emissions
from crucible.localnet.context import Context
from crucible.localnet.decimals import decimal_text
from crucible.localnet.mechanism_state import with_score_average
from crucible.localnet.settlement import ACTOR_TYPES
from crucible.localnet.topic import Topic
from crucible.network.admission import admit


def join(context: Context, topic: Topic, kind: str, height: int, name: str, members: dict[str, Any]) -> bool:
    """Decide on ``name``'s place among ``members`` of nonce ``height``; return whether it is in.

    Until the set is full everybody is let in; then a newcomer takes the place of the member with the lowest score
    average if its own is strictly greater. The one that is left out moves towards the topic's quantile, once a window.

    Parameters
    ----------
    kind : str
        ``inferer``, ``forecaster`` or ``reputer``.
    members : dict
        By address, in the order of submission; somebody who loses the place is taken out.

    Raises
    ------
    Refusal
        emissions 78 if the average of ``name`` was touched in this window already.
    """
    mark = f"{kind}:{name}"
    if topic.ema_nonces.get(mark, -1) >= height:
        raise emissions(78, f"{name}: cannot update EMA more than once per window")
    topic.ema_nonces[mark] = height
    params = topic.spec.parameters
    actors = getattr(topic.mechanism, f"{kind}s")
    outcome = admit(
        [*members, name],
        topic.score_averages(kind),
        getattr(params, f"max_top_{kind}s"),
        float(actors.quantile),
        params.merit_sortition_alpha,
    )
    for loser in {*members, name} - set(outcome.active):
        members.pop(loser, None)
        average = outcome.score_emas[loser]
        topic.ema_nonces[f"{kind}:{loser}"] = height
        topic.mechanism = with_score_average(topic.mechanism, kind, loser, average)
        context.emit(
            e.EventEmaScoresSet(
                actor_type=ACTOR_TYPES[kind], topic_id=topic.spec.id, nonce=height, addresses=[loser],
                scores=[decimal_text(average)], is_active=[False],
            )
        )  # fmt: skip
    return name in outcome.active

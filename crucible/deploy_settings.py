"""The part of a recipe that says who submits, and what answers when the champion cannot."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from crucible.cron import check_cron
from crucible.model_settings import Duration, Section

RUNGS = ("champion", "previous", "linear", "drift", "zero", "network", "abstain")
"""What may answer in place of a champion that cannot; see ``docs/reference/worker.md``."""


Wallet = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


class CanarySection(Section):
    """Where a challenger submits before it may become champion.

    ``topic`` is one of the testnet that asks the recipe's question, ``wallet`` a wallet of its own, ``epochs`` how many
    of its submissions must have been accepted and scored.
    """

    topic: int = Field(ge=1)
    wallet: Wallet
    epochs: int = Field(ge=1)


class DeploySection(Section):
    """Who submits, and when to retrain (cron, UTC).

    ``fallback`` is the ladder of what answers, the first that can; ``distance`` how many spreads a value may lie from
    the network's last inference. A challenger becomes champion only after ``live_epochs`` epochs as a shadow, predicted
    live and not submitted, and after what its ``canary`` asks for.
    """

    wallet: Wallet
    retrain: Annotated[str, AfterValidator(check_cron)]
    max_staleness: Duration
    fallback: tuple[str, ...] = ("champion", "previous")
    distance: float = Field(default=25.0, gt=0)
    live_epochs: int = Field(default=0, ge=0)
    canary: CanarySection | None = None

    @model_validator(mode="after")
    def _own_wallet(self) -> Self:
        if self.canary and self.canary.wallet == self.wallet:
            raise ValueError(f"the canary needs a wallet of its own, not {self.wallet!r}, which signs for the champion")
        return self

    @field_validator("fallback")
    @classmethod
    def _known_rungs(cls, rungs: tuple[str, ...]) -> tuple[str, ...]:
        for rung in rungs:
            if rung not in RUNGS:
                near = difflib.get_close_matches(rung, RUNGS, n=1, cutoff=0.3)
                hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(RUNGS)}"
                raise ValueError(f"{rung!r} is no rung of the ladder; {hint}")
        if not rungs or rungs[0] != "champion" or len(set(rungs)) != len(rungs):
            raise ValueError("the ladder begins with 'champion' and names each rung once")
        if "abstain" in rungs[:-1]:
            raise ValueError("'abstain' can only be the last rung")
        return rungs

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # recipes that say nothing of an optional key keep the identity that they had before there was one
        values: dict[str, Any] = serialize(self)
        optional = {name: item.default for name, item in type(self).model_fields.items() if not item.is_required()}
        return {name: value for name, value in values.items() if getattr(self, name) != optional.get(name, ...)}

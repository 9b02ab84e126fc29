"""The part of a recipe that sets its candidates."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from crucible.duration import format_duration, parse_duration


def _to_duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(_to_duration), PlainSerializer(format_duration)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
CandidateName = Literal[
    "zero",
    "last_value",
    "drift",
    "ridge",
    "elastic_net",
    "har",
    "lightgbm",
    "catboost",
    "quantile",
    "mean",
    "weighted",
    "stacked",
]


class Section(BaseModel):
    """A table of the recipe: unknown keys are refused, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RidgeSection(Section):
    """Ridge regression on standardised features."""

    alpha: float = Field(gt=0)


class ElasticNetSection(Section):
    """Elastic net on standardised features and target; ``share`` of the penalty is on absolute coefficients."""

    alpha: float = Field(gt=0)
    share: Fraction


class HarSection(Section):
    """Ridge regression on returns and volatilities only."""

    alpha: float = Field(gt=0)


class QuantileSection(Section):
    """Gradient boosting of three quantiles by LightGBM, one thread per fit."""

    trees: int = Field(ge=1)
    learning_rate: Fraction
    leaves: int = Field(ge=2)
    min_leaf_rows: int = Field(ge=1)
    feature_fraction: float = Field(gt=0, le=1)
    bins: int = Field(ge=8, le=255)


class LightGBMSection(QuantileSection):
    """Gradient boosting by LightGBM, one thread per fit.

    ``objective``: what it minimises, in standard deviations of the target.
    """

    objective: Literal["sqe", "abse", "huber", "logcosh", "zptae", "czar"] = "sqe"


class CatBoostSection(Section):
    """Gradient boosting by CatBoost, one thread per fit."""

    trees: int = Field(ge=1)
    learning_rate: Fraction
    depth: int = Field(ge=1, le=10)
    borders: int = Field(ge=8, le=254)


class ModelSection(Section):
    """The candidates, and the settings of those that have any.

    With ``recency``, a training row counts half as much as one that is this much younger; with ``uniqueness``, by how
    little of its label others share.
    """

    candidates: tuple[CandidateName, ...] = Field(min_length=1)
    recency: Duration | None = None
    uniqueness: bool = False
    ridge: RidgeSection | None = None
    elastic_net: ElasticNetSection | None = None
    har: HarSection | None = None
    lightgbm: LightGBMSection | None = None
    catboost: CatBoostSection | None = None
    quantile: QuantileSection | None = None

    @model_validator(mode="after")
    def _settings_match_candidates(self) -> Self:
        if len(set(self.candidates)) != len(self.candidates):
            raise ValueError("each candidate may be named once")
        learners = ("ridge", "elastic_net", "har", "lightgbm", "catboost", "quantile")
        for name in learners:
            if (getattr(self, name) is None) == (name in self.candidates):
                missing = name in self.candidates
                raise ValueError(
                    f"candidate {name!r} needs a table [models.{name}]"
                    if missing
                    else f"[models.{name}] is there, but {name!r} is not among the candidates"
                )
        for name in ("mean", "weighted", "stacked"):
            if name in self.candidates and not set(learners) & set(self.candidates):
                raise ValueError(f"candidate {name!r} needs at least one of {', '.join(learners)} to average")
        return self

"""The part of a recipe that sets its candidates."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(gt=0, lt=1)]
CandidateName = Literal[
    "zero", "last_value", "drift", "ridge", "elastic_net", "har", "lightgbm", "catboost", "mean", "weighted"
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


class LightGBMSection(Section):
    """Gradient boosting by LightGBM, one thread per fit.

    ``objective``: what it minimises, in standard deviations of the target.
    """

    trees: int = Field(ge=1)
    learning_rate: Fraction
    leaves: int = Field(ge=2)
    min_leaf_rows: int = Field(ge=1)
    feature_fraction: float = Field(gt=0, le=1)
    bins: int = Field(ge=8, le=255)
    objective: Literal["sqe", "huber", "logcosh", "zptae"] = "sqe"


class CatBoostSection(Section):
    """Gradient boosting by CatBoost, one thread per fit."""

    trees: int = Field(ge=1)
    learning_rate: Fraction
    depth: int = Field(ge=1, le=10)
    borders: int = Field(ge=8, le=254)


class ModelSection(Section):
    """The candidates, and the settings of those that have any."""

    candidates: tuple[CandidateName, ...] = Field(min_length=1)
    ridge: RidgeSection | None = None
    elastic_net: ElasticNetSection | None = None
    har: HarSection | None = None
    lightgbm: LightGBMSection | None = None
    catboost: CatBoostSection | None = None

    @model_validator(mode="after")
    def _settings_match_candidates(self) -> Self:
        if len(set(self.candidates)) != len(self.candidates):
            raise ValueError("each candidate may be named once")
        learners = ("ridge", "elastic_net", "har", "lightgbm", "catboost")
        for name in learners:
            if (getattr(self, name) is None) == (name in self.candidates):
                missing = name in self.candidates
                raise ValueError(
                    f"candidate {name!r} needs a table [models.{name}]"
                    if missing
                    else f"[models.{name}] is there, but {name!r} is not among the candidates"
                )
        for name in ("mean", "weighted"):
            if name in self.candidates and not set(learners) & set(self.candidates):
                raise ValueError(f"candidate {name!r} needs at least one of {', '.join(learners)} to average")
        return self

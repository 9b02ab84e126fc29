"""The recipe: one TOML file that says how one worker answers one topic.

Every field is stated in the file; there are no hidden defaults. Unknown keys are refused with the nearest valid
name. The SHA-256 of the canonical JSON is the recipe's identity.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
import types
from pathlib import Path
from typing import Any, Literal, Self, Union, get_args, get_origin

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from crucible.data_settings import DataSection
from crucible.deploy_settings import DeploySection
from crucible.duration import format_duration
from crucible.errors import RecipeError
from crucible.model_settings import Duration, Fraction, ModelSection, Section
from crucible.topics.catalogue import Network, TargetKind, find_topic

LossMethod = Literal["sqe", "abse", "huber", "logcosh", "bce", "poisson", "ztae", "zptae"]
Grade = Literal["A+", "A", "B+", "B", "C", "D", "F"]


class TopicSection(Section):
    """Which question is answered."""

    testnet: int | None = Field(default=None, ge=1)
    mainnet: int | None = Field(default=None, ge=1)
    asset: str
    target: TargetKind
    horizon: Duration
    cadence: Duration
    loss: LossMethod

    @model_validator(mode="after")
    def _has_an_id(self) -> Self:
        if self.testnet is None and self.mainnet is None:
            raise ValueError("state the topic's id on testnet, on mainnet, or on both")
        for network in ("testnet", "mainnet"):
            topic_id = getattr(self, network)
            known = find_topic(network, topic_id) if topic_id is not None else None
            if known and (known.asset, known.target, known.horizon) != (self.asset, self.target, self.horizon):
                raise ValueError(
                    f"topic {topic_id} on {network} is {known.name!r} "
                    f"({known.asset}, {known.target}, {format_duration(known.horizon)}), not what this recipe says"
                )
        return self


class WindowSection(Section):
    """A look-back of ``horizons`` times H, at least ``least`` bars."""

    horizons: float = Field(gt=0)
    least: int = Field(ge=1)


class OwnFeature(Section):
    """A feature of the recipe's own: data, not code, so that it travels with the model; see ``docs/how-to``."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    estimates: str = Field(min_length=1)
    because: str = Field(min_length=1)
    sql: str = Field(min_length=1)
    windows: dict[str, WindowSection] = Field(default_factory=dict)
    low: float | None = None
    high: float | None = None


class FeatureSection(Section):
    """Which feature set, by name and version, and what is added to it.

    ``module`` names a Python file beside the recipes whose ``FEATURES`` are added; ``own`` are added after these.
    """

    set: str
    version: int = Field(ge=1)
    module: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]*$")
    own: tuple[OwnFeature, ...] = ()


class SearchSection(Section):
    """The inner search: ``trials`` settings per learning candidate, each over ``folds`` inner folds, in ``rounds``.

    Each round narrows the ranges to where the best trials so far lie. With one trial the recipe's settings are judged
    as they are. A trial that takes longer than ``deadline`` fails. ``split`` ``combinatorial`` tests every pair of
    ``folds`` pieces of the inner rows, and learns from the others, later ones included.
    """

    trials: int = Field(ge=1)
    folds: int = Field(ge=2)
    rounds: int = Field(ge=1)
    deadline: Duration
    split: Literal["walk_forward", "combinatorial"] = "walk_forward"

    @model_validator(mode="after")
    def _enough_pieces(self) -> Self:
        if self.split == "combinatorial" and self.folds < 4:
            raise ValueError("a combinatorial split tests pairs and needs at least 4 folds")
        return self


class ValidationSection(Section):
    """Three stages, oldest rows first.

    The search sees at least ``min_train``; then come ``folds`` outer windows of length ``test``, predicted with frozen
    settings and a fresh fit each; then the deployment set, which is opened once per recipe version.
    """

    folds: int = Field(ge=2)
    test: Duration
    min_train: Duration
    window: Literal["expanding", "rolling"]
    embargo: Duration
    deployment: Duration
    seed: int = Field(ge=0)


class OperationSection(Section):
    """What a model may cost at work: seconds from bars to a prediction, megabytes of files, stored bars of warm-up."""

    seconds: float = Field(default=1.0, gt=0)
    megabytes: float = Field(default=50.0, gt=0)
    warmup_bars: int = Field(default=50_000, ge=1)


class GateSection(Section):
    """What a candidate must show before it is promoted without a person's word.

    ``alpha`` is the level of every test on the outer windows, ``confirm`` that of the last one, on outer windows and
    deployment set together: the rate of false promotions is at most about that. ``block`` is the length of a bootstrap
    block in horizons. ``too_good`` is the share of right directions above which a leak is supposed, where the market is
    known to be more predictable than markets are.
    """

    minimum_grade: Grade
    alpha: Fraction
    confirm: Fraction
    bootstrap: int = Field(ge=200)
    block: int = Field(ge=2)
    operation: OperationSection = OperationSection()
    marginal: Literal["report", "require"] = "report"
    too_good: float | None = Field(default=None, gt=0.5, le=1)

    @model_serializer(mode="wrap")
    def _without_silence(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # recipes that say nothing of the newest key keep the identity that they had before there was one
        values: dict[str, Any] = serialize(self)
        return values if self.too_good is not None else {key: it for key, it in values.items() if key != "too_good"}


class Recipe(Section):
    """How one worker answers one topic."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    version: int = Field(ge=1)
    topic: TopicSection
    data: DataSection
    features: FeatureSection
    models: ModelSection
    search: SearchSection
    validation: ValidationSection
    gates: GateSection
    deploy: DeploySection

    @model_validator(mode="after")
    def _durations_fit(self) -> Self:
        bar = self.data.interval
        for where, value in (
            ("topic.horizon", self.topic.horizon),
            ("topic.cadence", self.topic.cadence),
            ("data.history", self.data.history),
            ("validation.test", self.validation.test),
            ("validation.deployment", self.validation.deployment),
        ):
            if value % bar:
                raise ValueError(
                    f"{where} is {format_duration(value)}, which is no multiple of "
                    f"the bar interval {format_duration(bar)}"
                )
        plan = self.validation
        need = plan.min_train + plan.folds * plan.test + plan.deployment
        # targets of the newest horizon are not known yet, and the first rows have no features
        if need + self.topic.horizon > self.data.history:
            raise ValueError(
                f"validation needs {format_duration(need)} (min_train + folds x test + deployment), "
                f"and a horizon more, but data.history is {format_duration(self.data.history)}"
            )
        return self

    @model_validator(mode="after")
    def _canary_asks_the_same(self) -> Self:
        canary = self.deploy.canary
        if canary is None:
            return self
        if canary.topic == self.topic.testnet:
            raise ValueError(f"deploy.canary.topic is {canary.topic}, the recipe's own; a canary needs another one")
        known = find_topic("testnet", canary.topic)
        if known and (known.asset, known.target, known.horizon) != (
            self.topic.asset, self.topic.target, self.topic.horizon,
        ):  # fmt: skip
            raise ValueError(
                f"deploy.canary.topic {canary.topic} is {known.name!r}, another question than the recipe's"
            )
        return self

    @property
    def horizon_bars(self) -> int:
        """The horizon in bars."""
        return self.topic.horizon // self.data.interval

    def answers(self, network: Network) -> bool:
        """Return whether the recipe states a topic on ``network``."""
        return getattr(self.topic, network) is not None

    def topic_id(self, network: Network) -> int:
        """Return the topic's id on ``network``.

        Raises
        ------
        RecipeError
            If the recipe states none for it.
        """
        topic_id: int | None = getattr(self.topic, network)
        if topic_id is None:
            raise RecipeError(f"Recipe {self.name} has no topic id for {network}; add topic.{network} to it.")
        return topic_id

    def canonical(self) -> str:
        """Return the recipe as JSON with sorted keys and no spaces: equal recipes give equal text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """SHA-256 of :meth:`canonical`, hex."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


def parse_recipe(text: str, origin: str) -> Recipe:
    """Return the recipe in TOML (or canonical JSON) ``text``.

    Parameters
    ----------
    text : str
        The file's contents.
    origin : str
        What to call it in messages, usually the path.

    Raises
    ------
    RecipeError
        In one sentence: the first fault, where it is, and for an unknown key the nearest valid one.
    """
    try:
        values = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
        return Recipe.model_validate(values)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise RecipeError(f"{origin} is not valid TOML: {error}.") from error
    except ValidationError as error:
        raise RecipeError(f"{origin}: {_first_fault(error)}.") from error


def load_recipe(path: Path) -> Recipe:
    """Read and check the recipe file at ``path``; see :func:`parse_recipe`."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        others = sorted(file.stem for file in path.parent.glob("*.toml"))
        near = difflib.get_close_matches(path.stem, others, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(others) or 'none'}"
        raise RecipeError(f"There is no recipe {path}{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read: {error}.") from error
    recipe = parse_recipe(text, str(path))
    if recipe.name != path.stem:
        raise RecipeError(f"{path}: the recipe calls itself {recipe.name!r}; file and name must agree.")
    return recipe


def find_recipe(recipes: Path, name: str) -> Recipe:
    """Read the recipe called ``name`` in the folder ``recipes``, or the file that ``name`` is a path of."""
    return load_recipe(Path(name) if name.endswith(".toml") else recipes / f"{name}.toml")


_KINDS = {
    "^[a-z][a-z0-9_]*$": "small letters, digits and _, and begins with a letter",
    "^[a-z0-9][a-z0-9_-]*$": "small letters, digits, - and _",
    "^[A-Z0-9]+$": "capital letters and digits",
}
"""Patterns of the schema in words."""


def _first_fault(error: ValidationError) -> str:
    faults = error.errors(include_url=False)
    # an unknown key usually explains the missing one beside it, so it is told first
    fault = next((item for item in faults if item["type"] == "extra_forbidden"), faults[0])
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        *parents, key = (str(part) for part in fault["loc"])
        valid = _keys_at(parents)
        near = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
        return f"unknown key {where!r}; " + (
            f"the nearest valid one is {near[0]!r}" if near else f"valid here: {', '.join(valid)}"
        )
    if fault["type"] == "missing":
        return f"{where} is missing"
    if fault["type"] == "string_pattern_mismatch":
        kinds = _KINDS.get(fault["ctx"]["pattern"], f"what matches {fault['ctx']['pattern']}")
        return f"{where} is {fault['input']!r}; it may hold only {kinds}"
    message = fault["msg"].removeprefix("Value error, ")
    if message.startswith("Input should "):
        return f"{where} is {fault['input']!r}; it should {message.removeprefix('Input should ')}"
    return f"{where}: {message}" if where else message


def _keys_at(parents: list[str]) -> list[str]:
    model: Any = Recipe
    for name in parents:
        if get_origin(model) in (tuple, dict):  # an index, or a name that the user has chosen
            model = get_args(model)[0] if get_origin(model) is tuple else get_args(model)[1]
            continue
        annotation = model.model_fields[name].annotation
        if get_origin(annotation) in (Union, types.UnionType):
            annotation = next(arg for arg in get_args(annotation) if arg is not type(None))
        model = annotation
    return list(model.model_fields)

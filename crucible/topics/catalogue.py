"""The topic catalogue of the network's documentation, as data (``catalogue.toml``)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Literal

from crucible.duration import parse_duration

Network = Literal["testnet", "mainnet"]
TargetKind = Literal["log_return", "price"]


@dataclass(frozen=True)
class CatalogueTopic:
    """One row of the catalogue; an id is ``None`` on a network that has no such topic."""

    asset: str
    target: TargetKind
    horizon: timedelta
    mainnet: int | None = None
    mainnet_name: str | None = None
    testnet: int | None = None
    testnet_name: str | None = None
    testnet_active: bool = True
    playground: bool = False

    @property
    def name(self) -> str:
        """The mainnet name, or the testnet name where there is none."""
        return self.mainnet_name or self.testnet_name or f"{self.asset} {self.target}"


@cache
def catalogue() -> tuple[CatalogueTopic, ...]:
    """Return every topic of the catalogue, mainnet order first, playground topics last."""
    text = files("crucible.topics").joinpath("catalogue.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)["topic"]
    return tuple(CatalogueTopic(**{**row, "horizon": parse_duration(row["horizon"])}) for row in rows)


def find_topic(network: Network, topic_id: int) -> CatalogueTopic | None:
    """Return the topic with this id on this network, or ``None`` where the catalogue has none."""
    return next((topic for topic in catalogue() if getattr(topic, network) == topic_id), None)

"""The two jobs: answer a topic (bars to champion), and deploy a champion."""

from __future__ import annotations

import dagster as dg

from assets.deployment import deployment
from assets.market import bars
from assets.registry import champion

answer_topic = dg.define_asset_job(
    "answer_topic",
    selection=dg.AssetSelection.assets(bars).downstream() & dg.AssetSelection.assets(champion).upstream(),
    description="Bars, features, walk-forward, evaluation, challenger and, if the gates pass, champion.",
)

deploy = dg.define_asset_job(
    "deploy",
    selection=dg.AssetSelection.assets(deployment),
    description="Verify the champion's bundle, hand it to the fleet, and wait until the worker serves it.",
)

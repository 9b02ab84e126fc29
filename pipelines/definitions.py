"""The only composition root: what Dagster loads."""

from __future__ import annotations

import dagster as dg

from assets import checks, deployment, evaluation, features, market, models, registry
from pipelines.jobs import answer_topic, deploy
from pipelines.schedules import RETRAINING
from pipelines.sensors import champion_moved
from resources.home import Home

defs = dg.Definitions(
    assets=dg.load_assets_from_modules(
        [market, features, models, evaluation, registry, deployment], include_specs=True
    ),
    asset_checks=dg.load_asset_checks_from_modules([checks]),
    jobs=[answer_topic, deploy],
    schedules=RETRAINING,
    sensors=[champion_moved],
    resources={"home": Home()},
    # a step in a process of its own costs two seconds each; heavy work runs in threads that release the lock
    executor=dg.in_process_executor,
)

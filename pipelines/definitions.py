"""The only composition root: what Dagster loads."""

from __future__ import annotations

import dagster as dg

from assets import checks, contract, deployment, evaluation, features, live, market, models, registry
from pipelines.automation import AUTOMATION
from pipelines.jobs import answer_topic, check_topic, deploy, evaluate_live, promote, roll_back
from pipelines.retention import old_runs
from pipelines.schedules import RETRAINING
from pipelines.sensors import champion_moved
from resources.home import Home

defs = dg.Definitions(
    assets=dg.load_assets_from_modules(
        [market, features, models, evaluation, registry, deployment, live, contract], include_specs=True
    ),
    asset_checks=dg.load_asset_checks_from_modules([checks]),
    jobs=[answer_topic, deploy, promote, roll_back, evaluate_live, check_topic],
    schedules=RETRAINING,
    sensors=[champion_moved, *AUTOMATION, old_runs],
    resources={"home": Home()},
    # a step in a process of its own costs two seconds each; heavy work runs in threads that release the lock
    executor=dg.in_process_executor,
)

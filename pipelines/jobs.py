"""The jobs: answer a topic (bars to champion), deploy, promote, roll back; evaluate what is live, check the topic."""

import dagster as dg

from assets.contract import contract
from assets.deployment import deployment
from assets.live import live
from assets.market import bars
from assets.registry import champion
from pipelines.partitions import RECIPES
from resources.home import Home

answer_topic = dg.define_asset_job(
    "answer_topic",
    selection=dg.AssetSelection.assets(contract)
    | (dg.AssetSelection.assets(bars).downstream() & dg.AssetSelection.assets(champion).upstream()),
    description="Bars, features, walk-forward, evaluation, challenger and, if the gates pass, champion.",
    tags={"crucible/work": "retraining"},  # dagster.yaml lets one of these run at a time
)

deploy = dg.define_asset_job(
    "deploy",
    selection=dg.AssetSelection.assets(deployment),
    description="Verify the champion's bundle, hand it to the fleet, and wait until the worker serves it.",
)

promote = dg.define_asset_job(
    "promote",
    selection=dg.AssetSelection.assets(champion),
    description="Look again whether the challenger may become champion: it has enough live epochs now.",
)

evaluate_live = dg.define_asset_job(
    "evaluate_live",
    selection=dg.AssetSelection.assets(bars, live),
    description="Bring the bars up to date, let shadows predict, and join what is live with truth and scores.",
)

check_topic = dg.define_asset_job(
    "check_topic",
    selection=dg.AssetSelection.assets(contract),
    description="Ask the chain whether the topic is still what the recipe answers.",
)


@dg.op(pool="registry")
def move_back(context: dg.OpExecutionContext) -> None:
    """Move @champion back if the decision still stands; the deploy sensor does the rest."""
    from crucible import stages
    from crucible.monitor.rollback import review

    home = Home()  # asked for as a resource it would have Dagster copy the sensor, which warns of a beta parameter
    recipe = home.recipe(context.partition_key)
    decided = review(home.settings, recipe)
    if decided is None or not decided.verdict.back:
        context.log.info("nothing is to be rolled back any more")
        return
    context.log.info(stages.roll_back(home.settings, recipe, decided).sentence)


@dg.job(partitions_def=RECIPES, description="Move @champion back to the version before it, where it does worse live.")
def roll_back() -> None:
    """Roll back one recipe."""
    move_back()

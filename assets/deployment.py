"""registry → deploy → worker → chain: the champion handed to the fleet, and what the worker did with it."""

import dagster as dg

from assets.registry import champion
from crucible import stages
from pipelines.partitions import RECIPES
from resources.home import Home


@dg.asset(
    partitions_def=RECIPES, deps=[champion], group_name="chain", kinds={"python"}, owners=["team:lab"], pool="deploy"
)
def deployment(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult:
    """The champion's bundle, verified, handed to the fleet, and acknowledged by the running worker."""
    done = stages.deploy_champion(home.settings, home.recipe(context.partition_key))
    return dg.MaterializeResult(
        metadata={
            "version": done.deployment.model_version,
            "bundle": done.deployment.bundle,
            "generation": done.deployment.generation,
            "worker": done.actual.address,
            "topic": done.deployment.topic_id,
        }
    )


submissions = dg.AssetSpec(
    "submissions",
    deps=[deployment],
    group_name="chain",
    kinds={"sqlite"},
    description="What the worker sent and what the chain said; written by the worker, never by Dagster. "
    "See `crucible fleet journal RECIPE`.",
    partitions_def=RECIPES,
)

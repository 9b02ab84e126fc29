"""gates → registry: the final fit as challenger, and the promotion that the verdict allows."""

import dagster as dg

from assets.contract import contract
from assets.evaluation import evaluation
from crucible import stages
from pipelines.partitions import RECIPES
from resources.home import Home


@dg.asset(partitions_def=RECIPES, deps=[evaluation], group_name="registry", kinds={"mlflow"}, owners=["team:lab"])
def challenger(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult:
    """The chosen candidate, fitted on everything, as a content-addressed bundle and a registered version."""
    registered = stages.register_challenger(home.settings, home.recipe(context.partition_key))
    return dg.MaterializeResult(
        metadata={
            "version": registered.version,
            "candidate": registered.bundle.manifest.candidate,
            "bundle": registered.bundle.digest,
            "dagster/uri": str(registered.bundle.path),
            "training rows": registered.bundle.manifest.training.rows,
            "trained up to": registered.bundle.manifest.training.last,
        }
    )


@dg.asset(
    partitions_def=RECIPES, deps=[challenger, contract], group_name="registry", kinds={"mlflow"}, owners=["team:lab"],
    pool="registry",
)  # fmt: skip
def champion(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult:
    """Moves @champion to the challenger if the gates passed and it has lived long enough; a refusal is a decision."""
    decision = stages.promote_challenger(home.settings, home.recipe(context.partition_key))
    return dg.MaterializeResult(
        metadata={
            "decision": decision.sentence,
            "challenger": decision.challenger,
            "champion": decision.champion if decision.champion is not None else "none",
        }
    )

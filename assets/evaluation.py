"""walk-forward → evaluation → gates: the scorecard, the verdict and the reasons."""

import dagster as dg

from assets.metadata import image, plain, table
from assets.models import walk_forward
from crucible import lab_stages
from pipelines.partitions import RECIPES
from resources.home import Home


@dg.asset(partitions_def=RECIPES, deps=[walk_forward], group_name="models", kinds={"mlflow"}, owners=["team:lab"])
def evaluation(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult:
    """The best candidate by the topic's own loss, its scorecard and its verdict; every candidate is an MLflow run."""
    result = lab_stages.evaluate(home.settings, home.recipe(context.partition_key))
    verdict = result.verdict
    return dg.MaterializeResult(
        metadata={
            "candidate": verdict.candidate,
            "verdict": "passed" if verdict.passed else "refused",
            "grade": verdict.grade,
            "gates": table(verdict.rows()),
            "scorecard": table(result.scorecard_rows()),
            "candidates": table(result.candidate_rows()),
            **{name.replace("_", " "): image(png) for name, png in result.plots.items()},
            "directional accuracy": plain(result.scorecard.metrics["directional_accuracy"]),
            "report": dg.MetadataValue.path(str(result.page)),
            "mlflow run": result.run_id,
        }
    )

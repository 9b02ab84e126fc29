"""features → walk-forward: every candidate, out of sample."""

import dagster as dg
import numpy as np

from assets.features import features
from assets.metadata import table
from crucible import lab_stages
from pipelines.partitions import RECIPES
from resources.home import Home


@dg.asset(
    partitions_def=RECIPES, deps=[features], group_name="models", kinds={"lightgbm", "catboost"}, owners=["team:lab"]
)
def walk_forward(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult:
    """Out-of-sample predictions of every candidate: purged walk-forward, a fresh fit before each test block."""
    recipe = home.recipe(context.partition_key)

    def tell(done: int, total: int) -> None:
        context.log.info(f"fit {done} of {total}")

    oos = lab_stages.walk_forward(home.settings, recipe, tell)
    folds = [
        {"fold": int(fold), "from": str(oos.times[oos.fold == fold][0]), "to": str(oos.times[oos.fold == fold][-1]),
         "rows": int((oos.fold == fold).sum())}
        for fold in np.unique(oos.fold)
    ]  # fmt: skip
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(oos.times),
            "candidates": ", ".join(oos.y_pred),
            "test blocks": table(folds),
        }
    )

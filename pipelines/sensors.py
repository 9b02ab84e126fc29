"""The deploy sensor: a champion alias that moved, by whatever hand, becomes one deploy run."""

import json

import dagster as dg

from pipelines.jobs import deploy
from pipelines.partitions import valid_recipes
from resources.home import Home


@dg.sensor(
    job=deploy,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Watches @champion of every recipe and deploys each change. It never submits anything itself.",
)
def champion_moved(context: dg.SensorEvaluationContext, home: Home) -> dg.SensorResult | dg.SkipReason:
    """Request one deploy run per change of a champion.

    The cursor holds ``{recipe: [version, number of the change]}``. The run key carries the number and not the
    version alone: v2 → v1 → v2 is three deployments, where a key made of the version would skip the third.
    """
    from crucible.registry.models import alias_version

    seen: dict[str, list[int]] = json.loads(context.cursor or "{}")
    requests = []
    for recipe in valid_recipes():
        version = alias_version(home.settings, recipe.name, "champion")
        before, change = seen.get(recipe.name, [0, 0])
        if version is None or version == before:
            continue
        seen[recipe.name] = [version, change + 1]
        key = f"{recipe.name}:{change + 1}:v{version}"
        requests.append(dg.RunRequest(run_key=key, partition_key=recipe.name, tags={"crucible/version": str(version)}))
    if not requests:
        return dg.SkipReason("no champion has moved")
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(seen, sort_keys=True))

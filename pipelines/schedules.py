"""Scheduled retraining: each recipe by its own cron line."""

import dagster as dg

from crucible.recipe import Recipe
from pipelines.jobs import answer_topic
from pipelines.partitions import valid_recipes
from resources.home import Home


def _retraining(recipe: Recipe) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"retrain_{recipe.name}",
        cron_schedule=recipe.deploy.retrain,
        job=answer_topic,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Retrain {recipe.name}, once it has a champion.",
    )
    def retrain(context: dg.ScheduleEvaluationContext, home: Home) -> dg.RunRequest | dg.SkipReason:
        from crucible.registry.models import alias_version

        if alias_version(home.settings, recipe.name, "champion") is None:
            return dg.SkipReason(f"{recipe.name} has no champion yet: nothing is deployed that could grow stale.")
        from crucible.monitor.admission import waiting
        from crucible.monitor.evidence import note_retraining

        challenger = waiting(home.settings, recipe)
        if challenger and home.settings.clock.now() < challenger.until:
            return dg.SkipReason(f"{recipe.name}: {challenger.sentence}; another would take its place.")

        # noted, so that evidence does not ask for another one right after it; the mark makes a second tick harmless
        mark = f"schedule:{context.scheduled_execution_time:%Y-%m-%dT%H:%M}"
        note_retraining(home.settings, recipe.name, "schedule", mark, home.settings.clock.now())
        return dg.RunRequest(run_key=f"{recipe.name}:{mark}", partition_key=recipe.name)

    return retrain


RETRAINING = [_retraining(recipe) for recipe in valid_recipes()]

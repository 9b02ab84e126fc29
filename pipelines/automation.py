"""What runs by itself: live evaluation, retraining on evidence, promotion, roll-back, topic checks, failed runs.

Every sensor decides from what is stored and not from what it remembers: a tick that is lost, or repeated after a
restart, asks for the same run under the same key, which Dagster starts once. A recipe that cannot be looked at, say
because its bars are damaged, keeps no other from being looked at.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import dagster as dg

from crucible.errors import CrucibleError
from crucible.monitor.alert_rules import live_period
from crucible.recipe import Recipe
from crucible.settings import Settings
from pipelines.jobs import answer_topic, check_topic, evaluate_live, promote, roll_back
from pipelines.partitions import valid_recipes
from resources.home import Home

_ON = dg.DefaultSensorStatus.RUNNING
_LIVE_EVERY = timedelta(hours=1)
_BEGUN = datetime(2020, 1, 1)  # noqa: DTZ001 -- only a grid, and never shown

Requests = Iterator[dg.RunRequest]


@dg.sensor(
    job=evaluate_live, minimum_interval_seconds=15, default_status=_ON,
    description="Evaluates what is live, every hour; less often for epochs longer than five minutes.",
)  # fmt: skip
def live_due(context: dg.SensorEvaluationContext, home: Home) -> Requests:
    """Request one run per recipe and period; the period is the run key."""
    from crucible.monitor.cycle import shadow_versions

    def look(recipe: Recipe) -> Requests:
        period = live_period(recipe.topic.cadence)
        if not _served_for(home.settings, recipe, period) and not (
            recipe.deploy.live_epochs and shadow_versions(home.settings, recipe)
        ):
            return
        number = (home.settings.clock.now().replace(tzinfo=None) - _BEGUN) // period
        yield dg.RunRequest(run_key=f"live:{recipe.name}:{number}", partition_key=recipe.name)

    return _each(context, home, look)


@dg.sensor(
    job=answer_topic, minimum_interval_seconds=30, default_status=_ON,
    description="Retrains on evidence (topic, repaired bars, decay, drift), within budgets and pauses.",
)  # fmt: skip
def retraining_due(context: dg.SensorEvaluationContext, home: Home) -> Requests:
    """Request a retraining for which something speaks, and note it once Dagster has the run."""
    from crucible.monitor.admission import waiting
    from crucible.monitor.evidence import gather, history, note_retraining
    from crucible.monitor.retrain import decide

    def look(recipe: Recipe) -> Requests:
        settings, now = home.settings, home.settings.clock.now()
        evidence = gather(settings, recipe)
        noted = {past.mark for past in history(settings, recipe.name)}
        for item in evidence:  # whatever is decided now: a run that is not noted would count for no pause and no budget
            key = f"retrain:{recipe.name}:{item.mark}"
            if item.mark not in noted and context.instance.get_runs(
                dg.RunsFilter(tags={"dagster/run_key": key}), limit=1
            ):
                note_retraining(settings, recipe.name, item.reason, item.mark, now)
        decision = decide(now, evidence, history(settings, recipe.name), waiting=waiting(settings, recipe))
        if not decision.go or decision.evidence is None:
            return
        context.log.info(f"{recipe.name}: {decision.sentence}")
        key, tags = f"retrain:{recipe.name}:{decision.evidence.mark}", {"crucible/reason": decision.evidence.reason}
        yield dg.RunRequest(run_key=key, partition_key=recipe.name, tags=tags)

    return _each(context, home, look)


@dg.sensor(
    job=promote, minimum_interval_seconds=30, default_status=_ON,
    description="Promotes a challenger that passed its gates, once it has the epochs live that its recipe asks for.",
)  # fmt: skip
def promotion_due(context: dg.SensorEvaluationContext, home: Home) -> Requests:
    """Request one look per challenger whose time as a shadow is over."""
    from crucible.monitor.admission import why_not
    from crucible.registry.models import CHALLENGER, CHAMPION, alias_version, get_version

    def look(recipe: Recipe) -> Requests:
        waits = recipe.deploy.live_epochs or recipe.deploy.canary
        number = alias_version(home.settings, recipe.name, CHALLENGER) if waits else None
        if number is None or number == alias_version(home.settings, recipe.name, CHAMPION):
            return
        version = get_version(home.settings, recipe.name, number)
        # one that was champion before was taken back, by a person or by its losses
        if version.tags.get("verdict") != "passed" or "promoted_at" in version.tags:
            return
        if not why_not(home.settings, recipe, number):
            yield dg.RunRequest(run_key=f"promote:{recipe.name}:v{number}", partition_key=recipe.name)

    return _each(context, home, look)


@dg.sensor(
    job=roll_back, minimum_interval_seconds=30, default_status=_ON,
    description="Rolls a champion back that does significantly worse live than the one before it.",
)  # fmt: skip
def rollback_due(context: dg.SensorEvaluationContext, home: Home) -> Requests:
    """Request one roll-back per tenure of a champion."""
    from crucible.monitor.champions import note_deployment, tenures
    from crucible.monitor.rollback import review

    def look(recipe: Recipe) -> Requests:
        note_deployment(home.settings, recipe.name)
        decided = review(home.settings, recipe)
        if decided is not None and decided.verdict.back:
            tenure = tenures(home.settings, recipe.name)[-1]
            key = f"rollback:{recipe.name}:{tenure.generation}:{tenure.bundle[:12]}"
            yield dg.RunRequest(run_key=key, partition_key=recipe.name)

    return _each(context, home, look)


@dg.sensor(
    job=check_topic, minimum_interval_seconds=60, default_status=_ON,
    description="Checks the contract of each deployed topic daily, and when a recipe has changed.",
)  # fmt: skip
def topic_check_due(context: dg.SensorEvaluationContext, home: Home) -> Requests:
    """Request one check per deployed recipe version and day; what is trained is checked by its own run."""

    def look(recipe: Recipe) -> Requests:
        if _served_for(home.settings, recipe, _LIVE_EVERY):
            key = f"contract:{recipe.name}:{recipe.digest[:12]}:{home.settings.clock.now():%Y-%m-%d}"
            yield dg.RunRequest(run_key=key, partition_key=recipe.name)

    return _each(context, home, look)


@dg.run_failure_sensor(
    name="run_failed", minimum_interval_seconds=15, default_status=_ON,
    description="Notes each failed run, so that an alert is told; one that will be tried again is not.",
)  # fmt: skip
def run_failed(context: dg.RunFailureSensorContext, home: Home) -> None:
    """Note a run that failed and will not be tried again."""
    from crucible.monitor.store import Event, monitor_store

    run = context.dagster_run
    if run.tags.get("dagster/will_retry") == "true":
        return
    settings = home.settings
    words = (context.failure_event.message or "no message").strip().splitlines()[0]
    detail = {"job": run.job_name, "run": run.run_id, "error": words[:300]}
    recipe = run.tags.get("dagster/partition", "")
    monitor_store(settings).add_event(
        Event(f"run failed:{run.run_id}", settings.clock.now().isoformat(), "run failed", recipe, detail)
    )


after_live = dg.AutomationConditionSensorDefinition(
    "after_live",
    target=dg.AssetSelection.groups("monitor"),
    default_status=_ON,
    minimum_interval_seconds=30,
    description="Evaluates the automation conditions of the assets in group `monitor`: drift after every `live`.",
)

AUTOMATION = [
    live_due, retraining_due, promotion_due, rollback_due, topic_check_due, run_failed, after_live,
]  # fmt: skip


def _each(context: dg.SensorEvaluationContext, home: Home, look: Callable[[Recipe], Requests]) -> Requests:
    """Yield what ``look`` asks for, recipe by recipe.

    Raises
    ------
    CrucibleError
        Why the first one could not be looked at, where nothing is asked for of the others: the tick is shown as failed.
    """
    first: CrucibleError | None = None
    asked = False
    for recipe in _answering(home.settings):
        try:
            requests = list(look(recipe))
        except CrucibleError as error:
            context.log.error(f"{recipe.name}: {error}")
            first = first or error
            continue
        asked = asked or bool(requests)
        yield from requests
    if first is not None and not asked:
        raise first


def _served_for(settings: Settings, recipe: Recipe, period: timedelta) -> bool:
    """Return whether something has been deployed for so long that there is anything to look at."""
    from crucible.monitor.submissions import deployment_of

    deployment = deployment_of(settings, recipe.name)
    return deployment is not None and settings.clock.now() - datetime.fromisoformat(deployment.written_at) >= period


def _answering(settings: Settings) -> list[Recipe]:
    """Return the recipes that answer a topic of this network, read anew; one that became faulty is left out."""
    from crucible.recipe import load_recipe

    found = []
    for known in valid_recipes():
        try:
            recipe = load_recipe(settings.recipes / f"{known.name}.toml")
        except CrucibleError:
            continue  # its own commands say what is wrong with it
        if recipe.answers(settings.network):
            found.append(recipe)
    return found

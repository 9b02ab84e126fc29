"""chain → contract: what the topic is, against what the recipe says; a broken one blocks promotion."""

import asyncio

import dagster as dg

from crucible.errors import ChainError, RecipeError
from pipelines.partitions import RECIPES
from resources.home import Home

_CHECK = dg.AssetCheckSpec(
    "topic_contract", asset="contract", blocking=True,
    description="Loss method, epoch length, lag, window, arity and cadence are what the recipe answers.",
)  # fmt: skip


@dg.asset(
    partitions_def=RECIPES, group_name="chain", kinds={"grpc"}, owners=["team:lab"], check_specs=[_CHECK],
    pool="monitor",
)  # fmt: skip
def contract(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult:
    """The topic as the chain has it now. A node that does not answer is a warning, and blocks nothing."""
    from crucible.chain.client import ChainClient
    from crucible.monitor.contract import check_contract

    settings, recipe = home.settings, home.recipe(context.partition_key)

    async def ask() -> list[str]:
        async with ChainClient(settings.grpc_url) as client:
            return await check_contract(settings, recipe, client)

    try:
        broken, severity = asyncio.run(ask()), dg.AssetCheckSeverity.ERROR
    except (ChainError, RecipeError) as error:
        broken, severity = [f"not checked: {error}"], dg.AssetCheckSeverity.WARN
    words = "; ".join(broken) or "none"
    result = dg.AssetCheckResult(
        check_name=_CHECK.name, passed=not broken, severity=severity, metadata={"broken": words}
    )  # fmt: skip
    return dg.MaterializeResult(metadata={"broken": words}, check_results=[result])

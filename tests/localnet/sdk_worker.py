"""Run unmodified SDK workers in a process of their own: they install signal handlers and want the main thread.

All roles at once, since the SDK takes seconds to import: a reputer, a forecaster, an inferer that stakes its rewards on
the reputer and one that stakes them with a validator. Prints one JSON line per result; ends when it is killed.
"""

import asyncio
import json
import math
import sys

from allora_sdk.rpc_client.config import AlloraNetworkConfig, AlloraWalletConfig
from allora_sdk.worker import AlloraWorker
from allora_sdk.worker.autostake import AutoStakeConfig, AutoStakeTargetType
from cosmpy.aerial.wallet import LocalWallet

TRUTH = 100.0


def say(role: str, **values: object) -> None:
    print(json.dumps({"role": role, **values}), flush=True)


async def work(role: str, worker: AlloraWorker, wallet: LocalWallet) -> None:
    async for outcome in worker.run():
        say(role, address=str(wallet.address()), outcome=str(outcome)[:300])


async def main(grpc_url: str, websocket_url: str, faucet_url: str, topic: int, validator: str) -> None:
    network = AlloraNetworkConfig(
        chain_id="allora-testnet-1", url=grpc_url, websocket_url=websocket_url, faucet_url=faucet_url
    )
    roles = ("reputer", "forecaster", "inferer", "validator_inferer")
    wallets = {role: LocalWallet.generate(prefix="allo") for role in roles}
    addresses = {role: str(wallet.address()) for role, wallet in wallets.items()}

    def common(role: str) -> dict:
        wallet = AlloraWalletConfig(wallet=wallets[role])
        return {
            "wallet": wallet, "network": network, "topic_id": topic, "polling_interval": 2, "show_banner": False,
        }  # fmt: skip

    def loss(context: object, predicted: dict) -> float:
        return math.log10((predicted["y"] - TRUTH) ** 2 + 1e-6)

    def forecast(context: object) -> dict:
        return {addresses["inferer"]: -0.5, addresses["validator_inferer"]: 0.5}

    workers = {
        "reputer": AlloraWorker.reputer(reputer_fn=loss, min_stake_uallo=50_000, **common("reputer")),
        "forecaster": AlloraWorker.forecaster(run=forecast, **common("forecaster")),
        "validator_inferer": AlloraWorker.inferer(
            run=lambda context: 98.5, autostake=AutoStakeConfig(AutoStakeTargetType.VALIDATOR, validator),
            **common("validator_inferer"),
        ),
    }  # fmt: skip
    say("start", addresses=addresses)
    tasks = [asyncio.create_task(work(role, worker, wallets[role])) for role, worker in workers.items()]
    # the SDK wants the reputer to be registered before anybody stakes on it
    await asyncio.to_thread(sys.stdin.readline)
    target = AutoStakeConfig(AutoStakeTargetType.REPUTER, addresses["reputer"])
    inferer = AlloraWorker.inferer(run=lambda context: 100.5, autostake=target, **common("inferer"))
    tasks.append(asyncio.create_task(work("inferer", inferer, wallets["inferer"])))
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]))

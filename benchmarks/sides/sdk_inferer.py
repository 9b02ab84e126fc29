"""Run the unmodified SDK worker in a process of its own: it installs signal handlers and wants the main thread."""

import asyncio
import json
import sys

from allora_sdk.rpc_client.config import AlloraNetworkConfig, AlloraWalletConfig
from allora_sdk.worker import AlloraWorker
from cosmpy.aerial.wallet import LocalWallet


async def main(grpc_url: str, websocket_url: str, faucet_url: str, topic: int, wanted: int) -> None:
    """Submit a constant for ``wanted`` windows, and print one JSON line per result."""
    wallet = LocalWallet.generate(prefix="allo")
    worker = AlloraWorker.inferer(
        run=lambda context: 101.5,
        wallet=AlloraWalletConfig(wallet=wallet),
        network=AlloraNetworkConfig(
            chain_id="allora-testnet-1", url=grpc_url, websocket_url=websocket_url, faucet_url=faucet_url
        ),
        topic_id=topic,
        polling_interval=2,
        show_banner=False,
    )
    accepted = []
    async for outcome in worker.run():
        accepted.append(str(outcome))
        print(json.dumps({"address": str(wallet.address()), "outcome": str(outcome)[:300]}), flush=True)
        if len(accepted) >= wanted:
            break
    await worker.client.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))

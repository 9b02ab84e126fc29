"""Several wallets' workers in one process, whole but for the model: what the storm of faults is let loose on.

Reads one JSON line: the wallets, and a file descriptor to which a byte is written for every turn of the loop, so that
the node's clock can stand still while this process does. Ends with SIGTERM.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from datetime import UTC, datetime

from crucible.settings import Settings
from crucible.worker import wallet_worker
from crucible.worker.pool import Loaded, Predicted


class Dice:
    """Predicts at random, in place of the process that predicts: a second prediction of one nonce would show."""

    restarts = 0

    def __init__(self, settings: Settings) -> None:
        pass

    def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def load(self, deployment):
        return Loaded(deployment, deployment.epoch_seconds, "price", "sqe", ("champion",), 1e9, "")

    async def predict(self, recipe, digest, rung, seconds):
        return Predicted(random.uniform(99, 101), datetime.now(UTC).isoformat(), 100.0, 0.01)


async def beat(descriptor: int, seconds: float) -> None:
    """Tell that the loop has turned: one byte each time, and at most one for each ``seconds``."""
    while True:
        await asyncio.sleep(seconds)
        with contextlib.suppress(BlockingIOError):  # nobody reads: the node's process stands still
            os.write(descriptor, b".")


async def live(wallets: list[str], descriptor: int, seconds: float) -> None:
    settings = Settings.load()
    workers = [wallet_worker.WalletWorker(settings, wallet) for wallet in wallets]
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: [worker.stop() for worker in workers])
    beating = asyncio.create_task(beat(descriptor, seconds))
    # `run` of each would take the signals for itself
    await asyncio.gather(*(worker._until_stopped() for worker in workers))
    beating.cancel()


if __name__ == "__main__":
    world = json.loads(sys.stdin.readline())
    wallet_worker.ModelPool = Dice
    asyncio.run(live(world["wallets"], world["beats"], world["beat"]))

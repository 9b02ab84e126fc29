"""Short lives of a worker: forked, again and again, from a process that has imported everything and does nothing else.

Reads one JSON line with the world and then, for each further line, starts a life and prints its process id. A life
answers two topics with random values, and writes every record that the journal has acknowledged into a file, so that
whoever kills it can tell what must not be lost.
"""

import asyncio
import json
import os
import random
import sys
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from crucible.chain.account import Account
from crucible.chain.client import ChainClient
from crucible.chain.fees import FeePolicy
from crucible.chain.wallet import Wallet
from crucible.clock import SystemClock
from crucible.errors import NodeUnreachable
from crucible.worker.journal import Journal
from crucible.worker.roles.role import Answer
from crucible.worker.submitter import Submitter


class Acknowledged(Journal):
    """Tells what it has recorded, after it has recorded it."""

    def __init__(self, *arguments, log: int, **key) -> None:
        super().__init__(*arguments, **key)
        self._log = log

    def _advance(self, nonce, states, changes):
        row = super()._advance(nonce, states, changes)
        os.write(self._log, json.dumps([row.topic_id, nonce, row.state, row.value, row.tx_hash]).encode() + b"\n")
        return row


async def answer(nonce: int, seconds: float) -> Answer:
    await asyncio.sleep(random.uniform(0, 0.02))
    return Answer(random.uniform(100, 200), predicted_for="t", bundle="b", model_version=1)


async def life(world: dict, wallet: Wallet) -> None:
    log = os.open(world["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    async with ChainClient(world["grpc_url"]) as client:
        account = Account(client, wallet, "allora-testnet-1", FeePolicy())
        with ExitStack() as stack:
            await asyncio.gather(*(_topic(stack, account, world, log, topic) for topic in world["topics"]))


async def _topic(stack, account, world, log, topic_id) -> None:
    key = {"chain_id": "allora-testnet-1", "topic_id": topic_id, "address": account.wallet.address}
    journal = stack.enter_context(Acknowledged(Path(world["journal"]), SystemClock(), log=log, **key))
    topic = await account.client.topic(topic_id)
    submitter = Submitter(account, journal, SystemClock(), topic=topic, block=timedelta(seconds=world["block"]))
    while True:
        try:
            for nonce in await account.client.open_nonces(topic_id):
                await submitter.handle(nonce, answer)
            await submitter.settle()
        except NodeUnreachable:
            pass
        await asyncio.sleep(0.02)


def main() -> None:
    world = json.loads(sys.stdin.readline())
    wallet = Wallet(world["words"])
    for _ in sys.stdin:
        pid = os.fork()
        if not pid:
            random.seed()
            asyncio.run(life(world, wallet))
            os._exit(0)
        print(pid, flush=True)
        os.waitpid(pid, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main()

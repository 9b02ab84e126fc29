"""Before the first submission: the right chain, the right topic, funds, a registration and, for a reputer, a stake."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from crucible.chain.account import Account
from crucible.chain.answers import TopicInfo
from crucible.chain.faucet import ask_faucet
from crucible.chain.keystore import Keystore
from crucible.chain.payloads import add_stake, registration
from crucible.chain.transaction import Message, sign, unsigned
from crucible.chain.wallet import Wallet
from crucible.errors import ChainError, FaucetBusy, SequenceMismatch, WalletError
from crucible.settings import Settings

_LOG = logging.getLogger(__name__)
LEAST_BALANCE = 10**12
"""uallo; some hundred thousand submissions at the usual price of gas."""

_FUNDS_SECONDS = 30.0
_LOOK_SECONDS = 0.2
_LIFE_BLOCKS = 20  # of a registration that no block takes
_TRIES = 3
_STAKE_HEADROOM = 1.2


def open_wallet(settings: Settings, name: str) -> Wallet:
    """Open a wallet; on the testnet one that does not exist is made, since the faucet will fund it.

    Raises
    ------
    WalletError
        If it does not exist on the mainnet, or cannot be opened.
    """
    keystore = Keystore(settings.keystore)
    if name in keystore.names() or settings.network != "testnet":
        return keystore.open(name)
    wallet = keystore.create(name)
    _LOG.info("made wallet %s with address %s", name, wallet.address)
    return wallet


async def introduce(
    account: Account, settings: Settings, topic_id: int, *, role: str = "inferer", report: Callable[[str], None]
) -> TopicInfo:
    """Make sure that the wallet can submit to the topic, and return the topic.

    A wallet that is registered already needs no funds for that, and waits for none.

    Parameters
    ----------
    report : callable
        Told in a few words what is waited for.

    Raises
    ------
    ChainError
        If the node is of another chain, the topic does not exist, its whitelist excludes the wallet, or the chain
        refuses the registration.
    WalletError
        If there are no funds and no faucet.
    """
    client, address = account.client, account.wallet.address
    reputer = role == "reputer"
    found = await client.chain_id()
    if found != settings.chain_id:
        raise ChainError(f"The node at {client.url} is of chain {found}, not {settings.chain_id}.")
    topic = await client.topic(topic_id)
    if not await client.may_submit(topic_id, address, reputer=reputer):
        raise ChainError(f"The whitelist of topic {topic_id} does not let {address} submit.")
    if not await client.is_registered(topic_id, address, reputer=reputer):
        await ensure_funds(account, settings, report)
        report(f"registering in topic {topic_id}")
        for attempt in range(_TRIES):
            refusal = await _deliver(account, registration(address, topic_id, reputer=reputer))
            if not refusal or await client.is_registered(topic_id, address, reputer=reputer):
                break
            if attempt == _TRIES - 1:
                raise ChainError(f"The chain refused the registration in topic {topic_id}: {refusal}")
    if reputer:
        await ensure_stake(account, topic_id)
    return topic


async def ensure_funds(account: Account, settings: Settings, report: Callable[[str], None]) -> None:
    """Wait until the wallet has funds, and ask the faucet for them where there is one.

    Raises
    ------
    WalletError
        If there is no faucet, or its funds do not arrive.
    ChainError
        If the faucet refuses.
    """
    client, address = account.client, account.wallet.address
    if await client.balance(address) >= LEAST_BALANCE:
        return
    if settings.network != "testnet" or not settings.faucet_url:
        raise WalletError(f"{address} holds less than {LEAST_BALANCE} uallo; fund it first.")
    report("asking the faucet")
    busy: FaucetBusy | None = None
    try:
        await ask_faucet(settings.faucet_url, settings.chain_id, address)
    except FaucetBusy as error:
        busy = error  # somebody else may fund it meanwhile, or the faucet has this address in its queue
        report(str(error))
    for _ in range(int(_FUNDS_SECONDS / _LOOK_SECONDS)):
        if await client.balance(address) >= LEAST_BALANCE:
            return
        await asyncio.sleep(_LOOK_SECONDS)
    raise busy or WalletError(f"The faucet's funds for {address} have not arrived after {_FUNDS_SECONDS:.0f} s.")


async def ensure_stake(account: Account, topic_id: int) -> None:
    """Stake what a reputer lacks of the required minimum, and a fifth more.

    Raises
    ------
    ChainError
        If the chain refuses.
    """
    client, address = account.client, account.wallet.address
    least = await client.minimum_stake()
    staked = await client.stake(topic_id, address)
    if staked >= least:
        return
    _LOG.info("staking in topic %d: %d uallo are required, %d are there", topic_id, least, staked)
    refusal = await _deliver(account, add_stake(address, topic_id, int(least * _STAKE_HEADROOM) - staked))
    if refusal:
        raise ChainError(f"The chain refused the stake in topic {topic_id}: {refusal}")


async def _deliver(account: Account, message: Message) -> str:
    """Send one message and wait for its block; return the chain's refusal, or nothing."""
    client, wallet, sequencer = account.client, account.wallet, account.sequencer
    async with sequencer.turn():
        for _ in range(_TRIES):
            number, sequence = await sequencer.next()
            try:
                gas = int(await client.simulate(unsigned(message, wallet, sequence)) * account.fee.headroom)
                timeout = await client.height() + _LIFE_BLOCKS
                signed = sign(
                    message, wallet, chain_id=account.chain_id, number=number, sequence=sequence, gas=gas,
                    fee=account.fee.amount(gas, await account.price()), timeout_height=timeout,
                )  # fmt: skip
                await client.broadcast(signed.content, signed.hash)
            except SequenceMismatch as mismatch:
                sequencer.learn(mismatch.expected)
                continue
            sequencer.accepted(sequence)
            break
        else:
            raise ChainError("Other transactions of this wallet keep taking its sequence number; use it nowhere else.")
    while (found := await client.find(signed.hash)) is None:
        if await client.height() > timeout:
            sequencer.learn(None)
            return "it was in no block"
        await asyncio.sleep(_LOOK_SECONDS)
    return found.log if found.code else ""

"""Before the first submission: the right chain, the right topic, funds and a registration."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from crucible.chain.client import ChainClient, TopicInfo
from crucible.chain.faucet import ask_faucet
from crucible.chain.keystore import Keystore
from crucible.chain.transaction import FeePolicy, registration, sign, unsigned
from crucible.chain.wallet import Wallet
from crucible.errors import ChainError, WalletError
from crucible.settings import Settings

_LOG = logging.getLogger(__name__)
_LEAST_BALANCE = 10**12  # uallo; some hundred thousand submissions at the usual price of gas
_FUNDS_SECONDS = 30.0
_LOOK_SECONDS = 0.2
_REGISTRATION_BLOCKS = 20
_GAS_HEADROOM = 1.3


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
    client: ChainClient,
    wallet: Wallet,
    settings: Settings,
    topic_id: int,
    *,
    fee: FeePolicy,
    report: Callable[[str], None],
) -> TopicInfo:
    """Make sure that ``wallet`` can submit to the topic, and return the topic.

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
    found = await client.chain_id()
    if found != settings.chain_id:
        raise ChainError(f"The node at {client.url} is of chain {found}, not {settings.chain_id}.")
    topic = await client.topic(topic_id)
    if not await client.may_submit(topic_id, wallet.address):
        raise ChainError(f"The whitelist of topic {topic_id} does not let {wallet.address} submit.")
    await _ensure_funds(client, wallet, settings, report)
    if not await client.is_registered(topic_id, wallet.address):
        report(f"registering in topic {topic_id}")
        await _register(client, wallet, settings, topic_id, fee)
    return topic


async def _ensure_funds(client: ChainClient, wallet: Wallet, settings: Settings, report: Callable[[str], None]) -> None:
    if await client.balance(wallet.address) >= _LEAST_BALANCE:
        return
    if settings.network != "testnet" or not settings.faucet_url:
        raise WalletError(f"{wallet.address} holds less than {_LEAST_BALANCE} uallo; fund it first.")
    report("asking the faucet")
    await ask_faucet(settings.faucet_url, settings.chain_id, wallet.address)
    for _ in range(int(_FUNDS_SECONDS / _LOOK_SECONDS)):
        if await client.balance(wallet.address) >= _LEAST_BALANCE:
            return
        await asyncio.sleep(_LOOK_SECONDS)
    raise WalletError(f"The faucet's funds for {wallet.address} have not arrived after {_FUNDS_SECONDS:.0f} s.")


async def _register(client: ChainClient, wallet: Wallet, settings: Settings, topic_id: int, fee: FeePolicy) -> None:
    account = await client.account(wallet.address)
    if account is None:
        raise WalletError(f"Account {wallet.address} does not exist although it is funded; try again.")
    message = registration(wallet.address, topic_id)
    gas = int(await client.simulate(unsigned(message, wallet, account.sequence)) * _GAS_HEADROOM)
    timeout = await client.height() + _REGISTRATION_BLOCKS
    signed = sign(
        message, wallet, chain_id=settings.chain_id, number=account.number, sequence=account.sequence,
        gas=gas, fee=fee.amount(gas, await client.gas_price()), timeout_height=timeout,
    )  # fmt: skip
    await client.broadcast(signed.content, signed.hash)
    while (found := await client.find(signed.hash)) is None:
        if await client.height() > timeout:
            raise ChainError(f"The registration in topic {topic_id} was in no block; try again.")
        await asyncio.sleep(_LOOK_SECONDS)
    if found.code and not await client.is_registered(topic_id, wallet.address):
        raise ChainError(f"The chain refused the registration in topic {topic_id}: {found.log}")

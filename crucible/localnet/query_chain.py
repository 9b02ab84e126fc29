"""The chain's own queries and transactions: node, blocks, accounts, balances, staking, fee market."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from allora_sdk.rpc_client.protos.cosmos.auth import v1beta1 as auth
from allora_sdk.rpc_client.protos.cosmos.bank import v1beta1 as bank
from allora_sdk.rpc_client.protos.cosmos.base.abci.v1beta1 import GasInfo, Result, TxResponse
from allora_sdk.rpc_client.protos.cosmos.base.query.v1beta1 import PageRequest, PageResponse
from allora_sdk.rpc_client.protos.cosmos.base.tendermint import v1beta1 as tm
from allora_sdk.rpc_client.protos.cosmos.base.v1beta1 import Coin, DecCoin
from allora_sdk.rpc_client.protos.cosmos.consensus import v1 as consensus
from allora_sdk.rpc_client.protos.cosmos.staking import v1beta1 as staking
from allora_sdk.rpc_client.protos.cosmos.tx import v1beta1 as tx
from allora_sdk.rpc_client.protos.feemarket.feemarket import v1 as feemarket
from allora_sdk.rpc_client.protos.google.protobuf import Any as Wrapped
from allora_sdk.rpc_client.protos.tendermint import abci
from allora_sdk.rpc_client.protos.tendermint.p2p import DefaultNodeInfo
from allora_sdk.rpc_client.protos.tendermint.types import Block, BlockParams, ConsensusParams, Header
from grpclib import GRPCError, Status

from crucible.localnet import ante
from crucible.localnet.abci import Refusal
from crucible.localnet.core import Core, mismatch
from crucible.localnet.ledger import DENOM, Account
from crucible.localnet.mempool import TxResult, parse_messages
from crucible.localnet.messages import topic_id_of

Method = tuple[Callable[[Any], Any], type, type]

_T = TypeVar("_T")
_PAGE = 100
_HEIGHT = re.compile(r"^tx\.height\s*=\s*'?(\d{1,18})'?$")


class ChainQueries:
    """Answers from a :class:`Core`."""

    def __init__(self, core: Core) -> None:
        self.core = core

    def methods(self) -> dict[str, Method]:
        """Return the methods by path."""
        node, chain_tx = "/cosmos.base.tendermint.v1beta1.Service/", "/cosmos.tx.v1beta1.Service/"
        fees, stake = "/feemarket.feemarket.v1.Query/", "/cosmos.staking.v1beta1.Query/"
        return {
            f"{node}GetNodeInfo": (self._node_info, tm.GetNodeInfoRequest, tm.GetNodeInfoResponse),
            f"{node}GetSyncing": (self._syncing, tm.GetSyncingRequest, tm.GetSyncingResponse),
            f"{node}GetLatestBlock": (self._latest_block, tm.GetLatestBlockRequest, tm.GetLatestBlockResponse),
            f"{node}GetBlockByHeight": (self._block, tm.GetBlockByHeightRequest, tm.GetBlockByHeightResponse),
            "/cosmos.auth.v1beta1.Query/Account": (self._account, auth.QueryAccountRequest, auth.QueryAccountResponse),
            "/cosmos.auth.v1beta1.Query/AccountInfo": (
                self._account_info, auth.QueryAccountInfoRequest, auth.QueryAccountInfoResponse),
            "/cosmos.bank.v1beta1.Query/Balance": (self._balance, bank.QueryBalanceRequest, bank.QueryBalanceResponse),
            "/cosmos.bank.v1beta1.Query/AllBalances": (
                self._balances, bank.QueryAllBalancesRequest, bank.QueryAllBalancesResponse),
            f"{chain_tx}Simulate": (self._simulate, tx.SimulateRequest, tx.SimulateResponse),
            f"{chain_tx}BroadcastTx": (self._broadcast, tx.BroadcastTxRequest, tx.BroadcastTxResponse),
            f"{chain_tx}GetTx": (self._get_tx, tx.GetTxRequest, tx.GetTxResponse),
            f"{chain_tx}GetTxsEvent": (self._get_txs, tx.GetTxsEventRequest, tx.GetTxsEventResponse),
            "/cosmos.consensus.v1.Query/Params": (
                self._consensus, consensus.QueryParamsRequest, consensus.QueryParamsResponse),
            f"{fees}GasPrice": (self._gas_price, feemarket.GasPriceRequest, feemarket.GasPriceResponse),
            f"{fees}GasPrices": (self._gas_prices, feemarket.GasPricesRequest, feemarket.GasPricesResponse),
            f"{fees}State": (
                lambda _: feemarket.StateResponse(state=self.core.price.state()),
                feemarket.StateRequest, feemarket.StateResponse),
            f"{fees}Params": (
                lambda _: feemarket.ParamsResponse(params=self.core.price.params()),
                feemarket.ParamsRequest, feemarket.ParamsResponse),
            f"{stake}Validator": (self._validator, staking.QueryValidatorRequest, staking.QueryValidatorResponse),
            f"{stake}Validators": (self._validators, staking.QueryValidatorsRequest, staking.QueryValidatorsResponse),
            f"{stake}Delegation": (self._delegation, staking.QueryDelegationRequest, staking.QueryDelegationResponse),
        }  # fmt: skip

    def _node_info(self, _: Any) -> tm.GetNodeInfoResponse:
        info = DefaultNodeInfo(network=self.core.chain_id, moniker="localnet")
        return tm.GetNodeInfoResponse(default_node_info=info)

    def _syncing(self, _: Any) -> tm.GetSyncingResponse:
        return tm.GetSyncingResponse(syncing=self.core.seen_height < self.core.height)

    def _latest_block(self, _: Any) -> tm.GetLatestBlockResponse:
        old, new = self._headers(self.core.seen_height)
        return tm.GetLatestBlockResponse(block=Block(header=old), sdk_block=tm.Block(header=new))

    def _block(self, request: tm.GetBlockByHeightRequest) -> tm.GetBlockByHeightResponse:
        if request.height not in self.core.times or request.height > self.core.seen_height:
            raise GRPCError(Status.INVALID_ARGUMENT, f"height {request.height} is not available")
        old, new = self._headers(request.height)
        return tm.GetBlockByHeightResponse(block=Block(header=old), sdk_block=tm.Block(header=new))

    def _headers(self, height: int) -> tuple[Header, tm.Header]:
        # clients differ in which of the two forms they read
        faults = self.core.faults
        wrong = faults.value("clock-ahead", 0.0) - faults.value("clock-behind", 0.0)
        time = datetime.fromtimestamp(max(self.core.times.get(height, self.core.time) + wrong, 0.0), UTC)
        values: dict[str, Any] = {"chain_id": self.core.chain_id, "height": height, "time": time}
        return Header(**values), tm.Header(**values)

    def _known(self, address: str) -> Account:
        account = self.core.ledger.accounts.get(address)
        if account is None:
            raise GRPCError(Status.NOT_FOUND, f"account {address} not found")
        return account

    def _base_account(self, address: str) -> auth.BaseAccount:
        account = self._known(address)
        return auth.BaseAccount(address=address, account_number=account.number, sequence=account.sequence)

    def _account(self, request: auth.QueryAccountRequest) -> auth.QueryAccountResponse:
        wrapped = Wrapped("/cosmos.auth.v1beta1.BaseAccount", bytes(self._base_account(request.address)))
        return auth.QueryAccountResponse(account=wrapped)

    def _account_info(self, request: auth.QueryAccountInfoRequest) -> auth.QueryAccountInfoResponse:
        return auth.QueryAccountInfoResponse(info=self._base_account(request.address))

    def _coin(self, address: str) -> Coin:
        account = self.core.ledger.accounts.get(address)
        poor = account is None or self.core.faults.active("wallet-unfunded")
        return Coin(denom=DENOM, amount="0" if poor or account is None else str(account.balance))

    def _balance(self, request: bank.QueryBalanceRequest) -> bank.QueryBalanceResponse:
        coin = self._coin(request.address) if request.denom == DENOM else Coin(denom=request.denom, amount="0")
        return bank.QueryBalanceResponse(balance=coin)

    def _balances(self, request: bank.QueryAllBalancesRequest) -> bank.QueryAllBalancesResponse:
        found, page = paginate([self._coin(request.address)], request.pagination)
        return bank.QueryAllBalancesResponse(balances=found, pagination=page)

    def _simulate(self, request: tx.SimulateRequest) -> tx.SimulateResponse:
        # `tx` is deprecated, and cosmpy still sends it
        content = request.tx_bytes or (bytes(request.tx) if request.tx else b"")
        if self.core.faults.take("simulate-mismatch"):
            raise GRPCError(Status.UNKNOWN, f"{mismatch(1, 0)} with gas used: '0'")
        try:
            used = self.core.simulate(content)
        except Refusal as refusal:
            raise GRPCError(Status.UNKNOWN, f"{refusal.log} with gas used: '0'") from refusal
        return tx.SimulateResponse(gas_info=GasInfo(gas_used=used), result=Result())

    def _broadcast(self, request: tx.BroadcastTxRequest) -> tx.BroadcastTxResponse:
        hash_, refusal = self.core.broadcast(request.tx_bytes)
        faults = self.core.faults
        if refusal is None and (
            faults.lose_responses or faults.take("response-lost", self._topic_of(request.tx_bytes))
        ):
            faults.lose_responses = max(faults.lose_responses - 1, 0)
            raise GRPCError(Status.UNAVAILABLE, "connection reset: the response was lost")
        response = TxResponse(txhash=hash_)
        if refusal:
            response = TxResponse(txhash=hash_, code=refusal.code, codespace=refusal.codespace, raw_log=refusal.log)
        return tx.BroadcastTxResponse(tx_response=response)

    def _topic_of(self, content: bytes) -> int | None:
        return topic_id_of(parse_messages(ante.decode(content))[0][1])

    def _get_tx(self, request: tx.GetTxRequest) -> tx.GetTxResponse:
        result = self.core.results.get(request.hash.upper())
        if result is None or result.height > self.core.seen_height:
            raise GRPCError(Status.NOT_FOUND, f"tx not found: {request.hash.upper()}")
        return tx.GetTxResponse(tx=tx.Tx(), tx_response=_response(result, self.core.times))

    def _get_txs(self, request: tx.GetTxsEventRequest) -> tx.GetTxsEventResponse:
        wanted = [
            _HEIGHT.match(condition.strip()) for condition in ([request.query] if request.query else request.events)
        ]
        if len(wanted) != 1 or wanted[0] is None:
            raise GRPCError(Status.UNIMPLEMENTED, "localnet finds transactions by tx.height=N only")
        height = int(wanted[0][1])
        found = [result for result in self.core.results.values() if result.height == height <= self.core.seen_height]
        limit = min(request.limit or _PAGE, _PAGE)
        start = max(request.page - 1, 0) * limit
        rows = [_response(result, self.core.times) for result in found[start : start + limit]]
        return tx.GetTxsEventResponse(txs=[tx.Tx()] * len(rows), tx_responses=rows, total=len(found))

    def _consensus(self, _: Any) -> consensus.QueryParamsResponse:
        return consensus.QueryParamsResponse(
            params=ConsensusParams(block=BlockParams(max_bytes=22_020_096, max_gas=-1))
        )

    def _gas_price(self, request: feemarket.GasPriceRequest) -> feemarket.GasPriceResponse:
        if request.denom not in ("", DENOM):
            raise GRPCError(Status.INVALID_ARGUMENT, f"no gas price in {request.denom[:80]}")
        return feemarket.GasPriceResponse(price=DecCoin(denom=DENOM, amount=self.core.price.legacy_price))

    def _gas_prices(self, _: Any) -> feemarket.GasPricesResponse:
        return feemarket.GasPricesResponse(prices=[DecCoin(denom=DENOM, amount=self.core.price.legacy_price)])

    def _described(self, address: str) -> staking.Validator:
        tokens = str(sum(self.core.ledger.validators[address].values()))
        return staking.Validator(
            operator_address=address, status=staking.BondStatus.BONDED, tokens=tokens, delegator_shares=tokens,
            min_self_delegation="1", description=staking.Description(moniker="localnet"),
        )  # fmt: skip

    def _validator(self, request: staking.QueryValidatorRequest) -> staking.QueryValidatorResponse:
        if request.validator_addr not in self.core.ledger.validators:
            raise GRPCError(Status.NOT_FOUND, f"validator {request.validator_addr} not found")
        return staking.QueryValidatorResponse(validator=self._described(request.validator_addr))

    def _validators(self, request: staking.QueryValidatorsRequest) -> staking.QueryValidatorsResponse:
        every = [self._described(address) for address in sorted(self.core.ledger.validators)]
        found, page = paginate(every, request.pagination)
        return staking.QueryValidatorsResponse(validators=found, pagination=page)

    def _delegation(self, request: staking.QueryDelegationRequest) -> staking.QueryDelegationResponse:
        delegator, validator = request.delegator_addr, request.validator_addr
        amount = self.core.ledger.validators.get(validator, {}).get(delegator)
        if amount is None:
            raise GRPCError(Status.NOT_FOUND, f"delegation of {delegator} to {validator} not found")
        held = staking.Delegation(delegator_address=delegator, validator_address=validator, shares=str(amount))
        balance = Coin(denom=DENOM, amount=str(amount))
        response = staking.DelegationResponse(delegation=held, balance=balance)
        return staking.QueryDelegationResponse(delegation_response=response)


def paginate(rows: Sequence[_T], asked: PageRequest | None) -> tuple[list[_T], PageResponse]:
    """Return one page of ``rows``, and where the next one begins; keys are places as decimal text."""
    asked = asked or PageRequest()
    try:
        start = int(asked.key) if asked.key else asked.offset
    except ValueError as error:
        raise GRPCError(Status.INVALID_ARGUMENT, "invalid pagination key") from error
    limit = min(asked.limit or _PAGE, _PAGE)
    ordered = list(reversed(rows)) if asked.reverse else list(rows)
    page = ordered[max(start, 0) : max(start, 0) + limit]
    following = max(start, 0) + limit
    key = str(following).encode() if following < len(rows) else b""
    return page, PageResponse(next_key=key, total=len(rows))


def _response(result: TxResult, times: dict[int, float]) -> TxResponse:
    at = datetime.fromtimestamp(max(times.get(result.height, 0.0), 0.0), UTC)
    return TxResponse(
        height=result.height,
        txhash=result.hash,
        codespace=result.codespace,
        code=result.code,
        raw_log=result.log,
        gas_wanted=result.gas_wanted,
        gas_used=result.gas_used,
        timestamp=at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        events=[
            abci.Event(
                type=event["type"],
                attributes=[abci.EventAttribute(**attribute) for attribute in event["attributes"]],
            )
            for event in result.events
        ],
    )

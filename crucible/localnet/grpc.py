"""The node's gRPC face: which method answers with what. Every other method answers UNIMPLEMENTED."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from allora_sdk.rpc_client.protos.cosmos.auth import v1beta1 as auth
from allora_sdk.rpc_client.protos.cosmos.bank import v1beta1 as bank
from allora_sdk.rpc_client.protos.cosmos.base.abci.v1beta1 import GasInfo, Result, TxResponse
from allora_sdk.rpc_client.protos.cosmos.base.tendermint import v1beta1 as tm
from allora_sdk.rpc_client.protos.cosmos.base.v1beta1 import Coin, DecCoin
from allora_sdk.rpc_client.protos.cosmos.consensus import v1 as consensus
from allora_sdk.rpc_client.protos.cosmos.tx import v1beta1 as tx
from allora_sdk.rpc_client.protos.feemarket.feemarket import v1 as feemarket
from allora_sdk.rpc_client.protos.google.protobuf import Any as Wrapped
from allora_sdk.rpc_client.protos.tendermint.p2p import DefaultNodeInfo
from allora_sdk.rpc_client.protos.tendermint.types import Block, BlockParams, ConsensusParams, Header
from grpclib import GRPCError, Status
from grpclib.const import Cardinality, Handler
from grpclib.server import Stream

from crucible.localnet.abci import Refusal
from crucible.localnet.ante import GAS_PRICE
from crucible.localnet.core import Core, TxResult
from crucible.localnet.emissions import emissions_methods
from crucible.localnet.ledger import DENOM, Account

Method = tuple[Callable[[Any], Any], type, type]


class Service:
    """Serves a :class:`Core` over grpclib."""

    def __init__(self, core: Core) -> None:
        self.core = core

    def __mapping__(self) -> dict[str, Handler]:
        """Return the methods by path, as grpclib asks for them."""
        methods = {**self._chain_methods(), **emissions_methods(self.core)}
        return {
            path: Handler(_unary(answer), Cardinality.UNARY_UNARY, request, response)
            for path, (answer, request, response) in methods.items()
        }

    def _chain_methods(self) -> dict[str, Method]:
        node = "/cosmos.base.tendermint.v1beta1.Service/"
        return {
            f"{node}GetNodeInfo": (self._node_info, tm.GetNodeInfoRequest, tm.GetNodeInfoResponse),
            f"{node}GetSyncing": (lambda _: tm.GetSyncingResponse(), tm.GetSyncingRequest, tm.GetSyncingResponse),
            f"{node}GetLatestBlock": (self._latest_block, tm.GetLatestBlockRequest, tm.GetLatestBlockResponse),
            f"{node}GetBlockByHeight": (self._block, tm.GetBlockByHeightRequest, tm.GetBlockByHeightResponse),
            "/cosmos.auth.v1beta1.Query/Account": (self._account, auth.QueryAccountRequest, auth.QueryAccountResponse),
            "/cosmos.auth.v1beta1.Query/AccountInfo": (
                self._account_info, auth.QueryAccountInfoRequest, auth.QueryAccountInfoResponse),
            "/cosmos.bank.v1beta1.Query/Balance": (self._balance, bank.QueryBalanceRequest, bank.QueryBalanceResponse),
            "/cosmos.bank.v1beta1.Query/AllBalances": (
                self._balances, bank.QueryAllBalancesRequest, bank.QueryAllBalancesResponse),
            "/cosmos.tx.v1beta1.Service/Simulate": (self._simulate, tx.SimulateRequest, tx.SimulateResponse),
            "/cosmos.tx.v1beta1.Service/BroadcastTx": (self._broadcast, tx.BroadcastTxRequest, tx.BroadcastTxResponse),
            "/cosmos.tx.v1beta1.Service/GetTx": (self._get_tx, tx.GetTxRequest, tx.GetTxResponse),
            "/cosmos.consensus.v1.Query/Params": (
                self._consensus, consensus.QueryParamsRequest, consensus.QueryParamsResponse),
            "/feemarket.feemarket.v1.Query/GasPrice": (
                self._gas_price, feemarket.GasPriceRequest, feemarket.GasPriceResponse),
        }  # fmt: skip

    def _node_info(self, _: Any) -> tm.GetNodeInfoResponse:
        info = DefaultNodeInfo(network=self.core.chain_id, moniker="localnet")
        return tm.GetNodeInfoResponse(default_node_info=info)

    def _latest_block(self, _: Any) -> tm.GetLatestBlockResponse:
        old, new = self._headers(self.core.height)
        return tm.GetLatestBlockResponse(block=Block(header=old), sdk_block=tm.Block(header=new))

    def _block(self, request: tm.GetBlockByHeightRequest) -> tm.GetBlockByHeightResponse:
        if request.height not in self.core.times:
            raise GRPCError(Status.INVALID_ARGUMENT, f"height {request.height} is not available")
        old, new = self._headers(request.height)
        return tm.GetBlockByHeightResponse(block=Block(header=old), sdk_block=tm.Block(header=new))

    def _headers(self, height: int) -> tuple[Header, tm.Header]:
        # clients differ in which of the two forms they read
        time = datetime.fromtimestamp(self.core.times.get(height, self.core.time), UTC)
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
        return Coin(denom=DENOM, amount=str(account.balance if account else 0))

    def _balance(self, request: bank.QueryBalanceRequest) -> bank.QueryBalanceResponse:
        coin = self._coin(request.address) if request.denom == DENOM else Coin(denom=request.denom, amount="0")
        return bank.QueryBalanceResponse(balance=coin)

    def _balances(self, request: bank.QueryAllBalancesRequest) -> bank.QueryAllBalancesResponse:
        return bank.QueryAllBalancesResponse(balances=[self._coin(request.address)])

    def _simulate(self, request: tx.SimulateRequest) -> tx.SimulateResponse:
        # `tx` is deprecated, and cosmpy still sends it
        content = request.tx_bytes or (bytes(request.tx) if request.tx else b"")
        try:
            used = self.core.simulate(content)
        except Refusal as refusal:
            raise GRPCError(Status.UNKNOWN, f"{refusal.log} with gas used: '0'") from refusal
        return tx.SimulateResponse(gas_info=GasInfo(gas_used=used), result=Result())

    def _broadcast(self, request: tx.BroadcastTxRequest) -> tx.BroadcastTxResponse:
        hash_, refusal = self.core.broadcast(request.tx_bytes)
        if refusal is None and self.core.faults.lose_responses:
            self.core.faults.lose_responses -= 1
            raise GRPCError(Status.UNAVAILABLE, "connection reset: the response was lost")
        response = TxResponse(txhash=hash_)
        if refusal:
            response = TxResponse(txhash=hash_, code=refusal.code, codespace=refusal.codespace, raw_log=refusal.log)
        return tx.BroadcastTxResponse(tx_response=response)

    def _get_tx(self, request: tx.GetTxRequest) -> tx.GetTxResponse:
        result = self.core.results.get(request.hash.upper())
        if result is None:
            raise GRPCError(Status.NOT_FOUND, f"tx not found: {request.hash.upper()}")
        return tx.GetTxResponse(tx=tx.Tx(), tx_response=_response(result))

    def _consensus(self, _: Any) -> consensus.QueryParamsResponse:
        return consensus.QueryParamsResponse(
            params=ConsensusParams(block=BlockParams(max_bytes=22_020_096, max_gas=-1))
        )

    def _gas_price(self, request: feemarket.GasPriceRequest) -> feemarket.GasPriceResponse:
        # a LegacyDec travels as an integer with 18 decimals
        return feemarket.GasPriceResponse(price=DecCoin(denom=DENOM, amount=str(GAS_PRICE * 10**18)))


def _response(result: TxResult) -> TxResponse:
    return TxResponse(
        height=result.height,
        txhash=result.hash,
        codespace=result.codespace,
        code=result.code,
        raw_log=result.log,
        gas_wanted=result.gas_wanted,
        gas_used=result.gas_used,
    )


def _unary(answer: Callable[[Any], Any]) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
    async def serve(stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        await stream.send_message(answer(request))

    return serve

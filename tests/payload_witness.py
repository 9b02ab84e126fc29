"""Sees every payload that is handed to a node, and every transaction that a block takes."""

from __future__ import annotations

from collections import Counter, defaultdict

from allora_sdk.rpc_client.protos.emissions.v10 import InsertWorkerPayloadRequest, RegisterRequest

from crucible.localnet.ante import decode

Key = tuple[str, int, int]
"""Worker, topic, nonce."""


class Witness:
    """Watches ``core`` from now on; transactions of the house are left out.

    Attributes
    ----------
    values : dict
        By :data:`Key`, every value that was handed over.
    done, paid : Counter
        By :data:`Key`, transactions in blocks that took effect; and those that cost a fee, failed ones included.
    codes : Counter
        By code and the beginning of the log, what blocks made of them.
    registered : dict
        Worker and topic -> the block of the registration.
    """

    def __init__(self, core) -> None:
        self.values = defaultdict(set)
        self.done, self.paid, self.codes = Counter(), Counter(), Counter()
        self.registered = {}
        broadcast, deliver = core.broadcast, core._deliver

        def watched(content, *, house=False):
            if not house:
                key, value = _payload(content)
                if key:
                    self.values[key].add(value)
            return broadcast(content, house=house)

        def delivered(transaction):
            result = deliver(transaction)
            if not transaction.house:
                self._delivered(transaction, result)
            return result

        core.broadcast, core._deliver = watched, delivered

    def _delivered(self, transaction, result) -> None:
        key, _ = _payload(transaction.content)
        if key:
            self.done[key] += result.code == 0
            self.paid[key] += result.gas_used > 0
            self.codes[result.code, result.log[:60]] += 1
        elif result.code == 0 and "RegisterRequest" in transaction.body.messages[0].type_url:
            request = RegisterRequest.parse(transaction.body.messages[0].value)
            self.registered[request.sender, request.topic_id] = result.height

    def conflicts(self) -> dict:
        """Nonces for which more than one value was handed over."""
        return {key: values for key, values in self.values.items() if len(values) > 1}


def _payload(content: bytes) -> tuple[Key | None, str | None]:
    message = decode(content).body.messages[0]
    if "InsertWorkerPayload" not in message.type_url:
        return None, None
    bundle = InsertWorkerPayloadRequest.parse(message.value).worker_data_bundle
    value = bundle.inference_forecasts_bundle.inference.values[0].value
    return (bundle.worker, bundle.topic_id, bundle.nonce.block_height), value

"""What a signed transaction says, for people."""

from __future__ import annotations

from crucible.errors import ChainError


def read_transaction(content: bytes) -> tuple[tuple[str, str], ...]:
    """Return the parts of a transaction as names and values: messages, fee, gas, sequence, timeout.

    Of a worker's payload the topic, the nonce and the submitted value are shown as well.

    Parameters
    ----------
    content : bytes
        A ``TxRaw``, as it is broadcast.

    Raises
    ------
    ChainError
        If the bytes are no transaction.
    """
    from allora_sdk.rpc_client.protos.cosmos.tx.v1beta1 import AuthInfo, TxBody, TxRaw
    from allora_sdk.rpc_client.protos.emissions import v10 as e

    lines: list[tuple[str, str]] = []
    try:
        raw = TxRaw.parse(content)
        body, auth = TxBody.parse(raw.body_bytes), AuthInfo.parse(raw.auth_info_bytes)
        if not body.messages:
            raise ValueError("no message")
        for message in body.messages:
            lines.append(("message", message.type_url))
            if message.type_url.endswith(".InsertWorkerPayloadRequest"):
                lines += _payload(e.InsertWorkerPayloadRequest.parse(message.value))
        if auth.fee is not None:
            paid = ", ".join(f"{coin.amount} {coin.denom}" for coin in auth.fee.amount) or "none"
            lines += [("fee offered", paid), ("gas limit", f"{auth.fee.gas_limit:,}")]
        lines += [("sequence", str(signer.sequence)) for signer in auth.signer_infos]
        lines.append(("last block that may hold it", str(body.timeout_height or "any")))
        lines.append(("signatures", str(len(raw.signatures))))
    except Exception as error:
        raise ChainError(f"These {len(content)} bytes are no transaction ({type(error).__name__}).") from error
    return tuple(lines)


def _payload(request: object) -> list[tuple[str, str]]:
    bundle = getattr(request, "worker_data_bundle", None)
    if bundle is None:
        return []
    found = [("topic", str(bundle.topic_id)), ("worker", str(bundle.worker))]
    if bundle.nonce is not None:
        found.append(("nonce", str(bundle.nonce.block_height)))
    inner = bundle.inference_forecasts_bundle
    if inner is not None and inner.inference is not None:
        found += [(f"value {item.label}", str(item.value)) for item in inner.inference.values]
    if inner is not None and inner.forecast is not None:
        found.append(("forecasts", str(len(inner.forecast.forecast_elements))))
    return found

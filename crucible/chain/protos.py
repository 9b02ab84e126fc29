"""The SDK's message types and stubs, without the rest of the SDK.

``import allora_sdk.rpc_client.protos…`` first runs the SDK's own ``__init__``, which imports every message version, two
REST layers, an HTTP client and the SDK's worker: 1.5 s and 60 MB that a worker process never uses. The packages on the
way are therefore stood in for while the messages are imported, and taken away again, so that whoever imports the SDK
itself afterwards gets all of it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGES = ("allora_sdk", "allora_sdk.rpc_client")
_LOCK = threading.Lock()


def _messages(name: str) -> Any:
    full = f"allora_sdk.rpc_client.{name}"
    if full in sys.modules:
        return sys.modules[full]
    with _LOCK:
        folder = _folder()
        stands_in = [package for package in _PACKAGES if package not in sys.modules]
        try:
            for package in stands_in:
                module = ModuleType(package)
                module.__path__ = [str(folder / Path(*package.split(".")[1:]))]
                sys.modules[package] = module
            return importlib.import_module(full)
        finally:
            for package in stands_in:
                sys.modules.pop(package, None)


def _folder() -> Path:
    spec = importlib.util.find_spec("allora_sdk")  # finds a top-level package without running it
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


auth = _messages("protos.cosmos.auth.v1beta1")
bank = _messages("protos.cosmos.bank.v1beta1")
base = _messages("protos.cosmos.base.v1beta1")
secp256k1 = _messages("protos.cosmos.crypto.secp256k1")
signing = _messages("protos.cosmos.tx.signing.v1beta1")
tm = _messages("protos.cosmos.base.tendermint.v1beta1")
tx = _messages("protos.cosmos.tx.v1beta1")
v3 = _messages("protos.emissions.v3")
v9 = _messages("protos.emissions.v9")
e = _messages("protos.emissions.v10")
feemarket = _messages("protos.feemarket.feemarket.v1")
protobuf = _messages("protos.google.protobuf")
canonicalize_dec = _messages("dec_canonical").canonicalize_dec

"""Looks for the secrets of a keystore in everything that a system wrote."""

from __future__ import annotations

import base64
from pathlib import Path

from crucible.chain.keystore import Keystore


def secrets_of(keystore: Keystore) -> dict[str, bytes]:
    """Every form in which a secret of this keystore could show: words, key, passphrase."""
    found = {}
    if keystore.passphrase_file.exists():
        found["passphrase"] = keystore.passphrase_file.read_bytes().strip()
    for name in keystore.names():
        words = keystore.mnemonic(name).split()
        key = bytes(keystore.open(name)._wallet.signer().private_key_bytes)
        # any four words in a row: a log that wraps or shortens the whole would hide it
        found |= {f"{name}, words {i}": " ".join(words[i : i + 4]).encode() for i in range(len(words) - 3)}
        found |= {f"{name}, words as a list": '", "'.join(words[:4]).encode(), f"{name}, key": key}
        found |= {f"{name}, hex": key.hex().encode(), f"{name}, HEX": key.hex().upper().encode()}
        found[f"{name}, base64"] = base64.b64encode(key)[:40]
    return found


def leaks(folder: Path, keystore: Keystore, *texts: str) -> list[str]:
    """Return where in ``folder`` (but for the keystore itself) or in ``texts`` a secret stands."""
    secrets = secrets_of(keystore)
    assert secrets
    contents = {str(index): text.encode() for index, text in enumerate(texts)}
    for path in folder.rglob("*"):
        if path.is_file() and keystore.folder not in path.parents:
            contents[str(path.relative_to(folder))] = path.read_bytes()
    return [
        f"{place}: {what}" for place, content in contents.items() for what, word in secrets.items() if word in content
    ]

import json
import os
import stat
import subprocess
import sys

import pytest
from click.testing import CliRunner

from crucible.chain.keystore import Keystore
from crucible.chain.wallet import Wallet, new_mnemonic
from crucible.errors import WalletError

WORDS = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"


def test_a_wallet_is_stored_encrypted_and_private(tmp_path):
    made = Keystore(tmp_path, {}).create("one", WORDS)
    opened = Keystore(tmp_path, {}).open("one")
    assert opened.address == made.address == "allo19rl4cm2hmr8afy4kldpxz3fka4jguq0ajnh7gv"
    for name in ("one.json", ".passphrase"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    text = (tmp_path / "one.json").read_text()
    assert not any(word in text for word in ("abandon", "about"))
    assert "abandon" not in repr(made) + str(vars(Keystore(tmp_path, {})))


def test_a_wrong_passphrase_or_an_altered_file_does_not_open(tmp_path):
    Keystore(tmp_path, {"CRUCIBLE_KEYSTORE_PASSPHRASE": "right"}).create("one", WORDS)
    with pytest.raises(WalletError, match="wrong passphrase"):
        Keystore(tmp_path, {"CRUCIBLE_KEYSTORE_PASSPHRASE": "wrong"}).open("one")
    path = tmp_path / "one.json"
    content = json.loads(path.read_text())
    for change in ({"address": "allo1other"}, {"sealed": "00" + content["sealed"][2:]}, {"salt": "zz"}):
        path.write_text(json.dumps({**content, **change}))
        with pytest.raises(WalletError) as caught:
            Keystore(tmp_path, {"CRUCIBLE_KEYSTORE_PASSPHRASE": "right"}).open("one")
        assert "abandon" not in str(caught.value)
    with pytest.raises(WalletError, match="crucible wallet create two"):
        Keystore(tmp_path, {}).open("two")


def test_wallets_are_never_overwritten_and_nonsense_is_not_echoed(tmp_path):
    keystore = Keystore(tmp_path, {})
    first = keystore.create("one")
    with pytest.raises(WalletError, match="never overwritten"):
        keystore.create("one")
    assert keystore.open("one").address == first.address
    with pytest.raises(WalletError) as caught:
        keystore.create("two", "correct horse battery staple")
    assert "horse" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert keystore.names() == ["one"]


def test_the_command_shows_addresses_only(tmp_path, monkeypatch):
    from crucible.cli.wallet import wallet

    monkeypatch.setenv("CRUCIBLE_HOME", str(tmp_path))
    made = CliRunner().invoke(wallet, ["import", "one"], input=WORDS + "\n")
    listed = CliRunner().invoke(wallet, ["ls"])
    shown = CliRunner().invoke(wallet, ["show", "one"])
    assert made.exit_code == listed.exit_code == shown.exit_code == 0, made.output
    assert "random passphrase was written" in made.output
    assert shown.output == "allo19rl4cm2hmr8afy4kldpxz3fka4jguq0ajnh7gv\n"
    assert "passphrase" not in CliRunner().invoke(wallet, ["create", "two"]).output
    assert "allo19rl4cm2hmr8afy4kldpxz3fka4jguq0ajnh7gv" in listed.output
    assert "abandon" not in made.output + listed.output


_TOGETHER = """
import sys, time
from pathlib import Path
from crucible.chain.keystore import Keystore
while time.time() < float(sys.argv[2]):
    pass
print(Keystore(Path(sys.argv[1]), {}).create(sys.argv[3]).address)
"""


def test_wallets_that_are_made_at_the_same_moment_share_one_passphrase(tmp_path):
    # the fleet of a new home starts all its workers at once, and each makes its wallet
    import time

    start = str(time.time() + 2.5)
    command = [sys.executable, "-c", _TOGETHER, str(tmp_path), start]
    makers = [subprocess.Popen([*command, f"w{i}"], stdout=subprocess.PIPE, text=True) for i in range(3)]
    addresses = [maker.communicate(timeout=30)[0].strip() for maker in makers]
    keystore = Keystore(tmp_path, {})
    assert [keystore.open(f"w{i}").address for i in range(3)] == addresses
    assert sorted(path.name for path in tmp_path.iterdir()) == [".passphrase", "w0.json", "w1.json", "w2.json"]


def test_an_empty_passphrase_file_never_encrypts_a_wallet(tmp_path):
    (tmp_path / ".passphrase").touch(0o600)
    with pytest.raises(WalletError, match="is empty"):
        Keystore(tmp_path, {}).create("one")
    assert Keystore(tmp_path, {}).names() == []


@pytest.mark.parametrize("name", ["../one", "", ".hidden", "One", "a/b", "a.json"])
def test_a_name_stays_inside_the_folder(tmp_path, name):
    keystore = Keystore(tmp_path / "keys", {})
    for act in (keystore.create, keystore.open, keystore.address):
        with pytest.raises(WalletError, match="no name for a wallet"):
            act(name)
    assert list(tmp_path.rglob("*")) == []


def test_a_disk_that_refuses_leaves_nothing_behind(tmp_path, monkeypatch):
    from crucible.errors import StoreError

    keystore = Keystore(tmp_path, {"CRUCIBLE_KEYSTORE_PASSPHRASE": "x"})

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        keystore.create("one")
    assert list(tmp_path.iterdir()) == []


def test_fresh_mnemonics_differ_and_are_valid():
    one, two = new_mnemonic(), new_mnemonic()
    assert one != two
    assert len(one.split()) == 24
    assert Wallet(one).address.startswith("allo1")

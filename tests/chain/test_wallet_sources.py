"""Where passphrases come from, how wallets move between hosts, and that nobody else may read them."""

import json
import os
import pickle
import stat
import sys
import types

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from crucible.chain.keystore import Keystore
from crucible.chain.signer import Signer
from crucible.chain.wallet import Wallet
from crucible.cli.wallet import wallet
from crucible.errors import WalletError

WORDS = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
ADDRESS = "allo19rl4cm2hmr8afy4kldpxz3fka4jguq0ajnh7gv"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("CRUCIBLE_HOME", str(tmp_path))

    def invoke(*arguments, text=None):
        done = CliRunner().invoke(wallet, [str(item) for item in arguments], input=text)
        assert not isinstance(done.exception, AssertionError)
        return done

    return invoke


@pytest.fixture
def keyring(monkeypatch):
    """The package's two functions over a dictionary: the real one needs a desktop."""
    kept = {}
    module = types.ModuleType("keyring")
    module.get_password = lambda service, name: kept.get((service, name))
    module.set_password = lambda service, name, value: kept.__setitem__((service, name), value)
    monkeypatch.setitem(sys.modules, "keyring", module)
    return kept


def test_the_passphrase_comes_from_the_first_source_that_is_there(tmp_path, keyring):
    handed = tmp_path / "handed"
    handed.write_text("from the file\n")
    handed.chmod(0o640)  # as systemd and containers hand secrets in
    keyring["crucible", "main"] = "from the keyring"
    keyring_env = {"CRUCIBLE_KEYSTORE_KEYRING": "main"}
    file_env = {**keyring_env, "CRUCIBLE_KEYSTORE_PASSPHRASE_FILE": str(handed)}
    env = {**file_env, "CRUCIBLE_KEYSTORE_PASSPHRASE": "from the environment"}
    cases = {"keyring": (keyring_env, "from the keyring"), "file": (file_env, "from the file")}
    cases |= {"environment": (env, "from the environment")}
    for name, (environ, passphrase) in cases.items():
        Keystore(tmp_path / name, environ).create("one", WORDS)
        assert Keystore(tmp_path / name, {}, ask=lambda said=passphrase: said).open("one").address == ADDRESS
        assert not (tmp_path / name / ".passphrase").exists()
        assert passphrase not in repr(Keystore(tmp_path / name, environ).passphrase)


def test_a_source_that_fails_is_named_and_never_replaced_by_another(tmp_path, keyring, monkeypatch):
    with pytest.raises(WalletError, match="no entry 'main'"):
        Keystore(tmp_path, {"CRUCIBLE_KEYSTORE_KEYRING": "main"}).create("one")
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(WalletError, match=r"allora-crucible\[keyring\]"):
        Keystore(tmp_path, {"CRUCIBLE_KEYSTORE_KEYRING": "main"}).create("one")
    with pytest.raises(WalletError, match="cannot be read"):
        Keystore(tmp_path, {"CRUCIBLE_KEYSTORE_PASSPHRASE_FILE": str(tmp_path / "none")}).create("one")
    with pytest.raises(WalletError, match="empty"):
        Keystore(tmp_path, {}, ask=lambda: " ").create("one")
    assert Keystore(tmp_path, {}).names() == []


def test_what_others_may_read_is_refused_or_warned_about(tmp_path, caplog):
    keystore = Keystore(tmp_path, {})
    keystore.create("one", WORDS)
    (tmp_path / "one.json").chmod(0o644)
    assert keystore.open("one").address == ADDRESS  # it is encrypted; but
    assert "chmod 600" in caplog.text
    keystore.passphrase_file.chmod(0o640)
    with pytest.raises(WalletError, match=r"mode 0640.*chmod 600"):
        keystore.open("one")
    handed = tmp_path / "handed"
    handed.write_text("x")
    handed.chmod(0o644)
    with pytest.raises(WalletError, match="open to others"):
        Keystore(tmp_path, {"CRUCIBLE_KEYSTORE_PASSPHRASE_FILE": str(handed)}).open("one")


def test_words_are_stored_in_the_clear_only_when_asked_and_only_for_their_owner(tmp_path):
    keystore = Keystore(tmp_path, {})
    made = keystore.create("bare", WORDS, plain=True)
    path = tmp_path / "bare.mnemonic"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keystore.names() == ["bare"]
    assert keystore.address("bare") == keystore.open("bare").address == made.address == ADDRESS
    with pytest.raises(WalletError, match="never overwritten"):
        keystore.create("bare")
    with pytest.raises(WalletError, match="unencrypted"):
        keystore.encrypted("bare")
    path.chmod(0o604)
    with pytest.raises(WalletError, match="open to others") as caught:
        keystore.open("bare")
    assert "abandon" not in str(caught.value)


def test_a_wallet_moves_to_another_host_with_another_passphrase(tmp_path):
    one = Keystore(tmp_path / "one", {"CRUCIBLE_KEYSTORE_PASSPHRASE": "first"})
    one.create("main", WORDS)
    two = Keystore(tmp_path / "two", {"CRUCIBLE_KEYSTORE_PASSPHRASE": "second"})
    with pytest.raises(WalletError, match="wrong passphrase"):
        two.import_encrypted("main", one.encrypted("main"))
    assert two.import_encrypted("main", one.encrypted("main"), "first").address == ADDRESS
    assert two.open("main").address == ADDRESS
    with pytest.raises(WalletError, match="The file is damaged"):
        two.import_encrypted("other", "{}")


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_change_of_the_passphrase_loses_no_wallet_even_if_it_is_interrupted(tmp_path, monkeypatch, interrupted):
    keystore = Keystore(tmp_path, {})
    addresses = {name: keystore.create(name).address for name in ("a", "b", "c")}
    keystore.create("bare", WORDS, plain=True)
    before = keystore.passphrase_file.read_text()
    if interrupted:
        from crucible.chain import keystore as module

        written, whole = [], module.write_private

        def cut(path, *arguments, **options):
            if len(written) == 1:
                raise KeyboardInterrupt
            written.append(path)
            whole(path, *arguments, **options)

        monkeypatch.setattr(module, "write_private", cut)
        with pytest.raises(KeyboardInterrupt):
            keystore.change_passphrase(None)
        monkeypatch.setattr(module, "write_private", whole)
        assert keystore.passphrase_file.read_text() == before
        assert {name: Keystore(tmp_path, {}).open(name).address for name in addresses} == addresses
    assert keystore.change_passphrase(None) == (["b", "c"] if interrupted else ["a", "b", "c"])
    assert keystore.passphrase_file.read_text() != before
    assert {name: Keystore(tmp_path, {}).open(name).address for name in addresses} == addresses
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "b.json", "c.json", "bare.mnemonic", ".passphrase"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_passphrase_that_comes_from_elsewhere_changes_only_by_a_persons_word(tmp_path, keyring):
    keystore = Keystore(tmp_path, {"CRUCIBLE_KEYSTORE_PASSPHRASE": "old"})
    keystore.create("one", WORDS)
    with pytest.raises(WalletError, match="--ask-new"):
        keystore.change_passphrase(None)
    assert keystore.change_passphrase("new") == ["one"]
    assert keystore.passphrase.needs_telling
    assert Keystore(tmp_path, {"CRUCIBLE_KEYSTORE_PASSPHRASE": "new"}).open("one").address == ADDRESS
    with pytest.raises(WalletError, match="old passphrase"):
        Keystore(tmp_path, {"CRUCIBLE_KEYSTORE_PASSPHRASE": "wrong"}).change_passphrase("other")
    keyring["crucible", "main"] = "new"
    by_keyring = Keystore(tmp_path, {"CRUCIBLE_KEYSTORE_KEYRING": "main"})
    by_keyring.change_passphrase("newest")
    assert keyring["crucible", "main"] == "newest"
    assert by_keyring.open("one").address == ADDRESS


def test_importing_from_a_prompt_from_standard_input_and_from_files(run, tmp_path):
    file = tmp_path / "words"
    file.write_text(WORDS)
    file.chmod(0o644)
    refused = run("import", "loose", "--from", file)
    assert "open to others" in str(refused.exception)
    file.chmod(0o600)
    done = [
        run("import", "typed", text=WORDS + "\n"),
        run("import", "piped", "--stdin", text=f"  {WORDS}\n\n"),
        run("import", "filed", "--from", file),
        run("export", "typed", "--to", tmp_path / "typed.json"),
        run("import", "moved", "--from", tmp_path / "typed.json"),
        run("import", "bare", "--plain", "--stdin", text=WORDS),
    ]
    assert [item.exit_code for item in done] == [0] * 6, [item.output for item in done]
    assert "NOT encrypted" in done[5].output
    listed = json.loads(run("ls", "--json").output)
    assert {row["address"] for row in listed} == {ADDRESS}
    assert [row["name"] for row in listed] == ["bare", "filed", "moved", "piped", "typed"]
    assert "abandon" not in "".join(item.output for item in done)
    assert run("import", "both", "--stdin", "--from", file).exit_code == 2
    assert "no valid mnemonic" in str(run("import", "wrong", "--stdin", text="correct horse").exception)


def test_a_mnemonic_leaves_only_to_a_terminal_or_a_new_private_file(run, tmp_path):
    run("import", "one", text=WORDS + "\n")
    piped = run("export", "one", "--plain")  # CliRunner is no terminal
    assert "not into a pipe" in str(piped.exception)
    assert "abandon" not in piped.output
    target = tmp_path / "out"
    told = run("export", "one", "--plain", "--to", target)
    assert (target.read_text(), stat.S_IMODE(target.stat().st_mode)) == (WORDS + "\n", 0o600)
    assert "abandon" not in told.output
    assert "exists already" in str(run("export", "one", "--plain", "--to", target).exception)
    encrypted = run("export", "one").output
    assert json.loads(encrypted)["address"] == ADDRESS
    assert "abandon" not in encrypted


def test_asking_and_changing_by_command(run, tmp_path):
    slip = run("create", "one", "--ask-passphrase", text="secert\nsecret\n")
    assert (slip.exit_code, run("list").output) == (1, "")
    assert run("create", "one", "--ask-passphrase", text="secret\nsecret\n").exit_code == 0
    assert not (tmp_path / "data" / "keystore" / ".passphrase").exists()
    address = run("show", "one", "--ask-passphrase", text="secret\n").output.splitlines()[-1]
    changed = run("passphrase", "--ask-passphrase", "--ask-new", text="secret\nnewer\nnewer\n")
    assert "1 wallets are encrypted anew: one" in changed.output
    assert "put the new passphrase" in changed.output
    assert run("show", "one", "--ask-passphrase", text="newer\n").output.splitlines()[-1] == address
    assert "wrong passphrase" in str(run("show", "one", "--ask-passphrase", text="secret\n").exception)
    assert "secret" not in changed.output


def test_no_command_takes_a_secret_as_an_argument():
    words = {"mnemonic", "passphrase", "key", "secret", "words", "seed"}
    for command in wallet.commands.values():
        assert not {parameter.name for parameter in command.params if not getattr(parameter, "is_flag", False)} & words


def test_a_wallet_is_a_signer_and_any_other_may_stand_in_for_it():
    held: Signer = Wallet(WORDS)

    class Remote:
        """A signer whose key is elsewhere, checked as a chain checks: by the public key."""

        address, public = held.address, held.public

        def sign(self, message: bytes) -> bytes:
            return held.sign(message)

    remote: Signer = Remote()
    signature = remote.sign(b"document")
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), remote.public)
    public.verify(encode_dss_signature(r, s), b"document", ec.ECDSA(hashes.SHA256()))
    with pytest.raises(WalletError, match="another process"):
        pickle.dumps(held)
    assert os.environ.get("CRUCIBLE_KEYSTORE_PASSPHRASE") is None

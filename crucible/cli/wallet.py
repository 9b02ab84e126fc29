"""``crucible wallet``: encrypted wallets."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from crucible.chain.keystore import Keystore

_ask = click.option("--ask-passphrase", is_flag=True, help="Ask for the passphrase instead of looking for it.")


@click.group()
def wallet() -> None:
    """Make, import, export and list wallets.

    A wallet is an encrypted file in data/keystore. Its passphrase is CRUCIBLE_KEYSTORE_PASSPHRASE, or in the file that
    CRUCIBLE_KEYSTORE_PASSPHRASE_FILE names, or in the system's keyring under CRUCIBLE_KEYSTORE_KEYRING, or in the file
    .passphrase beside the wallets, which is made if there is none. No command takes a secret as an argument.
    """


@wallet.command()
@click.argument("name")
@click.option("--plain", is_flag=True, help="Store the words unencrypted: whoever reads the disk has the funds.")
@_ask
def create(name: str, plain: bool, ask_passphrase: bool) -> None:
    """Make a wallet called NAME.

    Keep a copy of its file and of the passphrase, or the funds are gone with the disk.

    Example: crucible wallet create btc-usd-5min
    """
    _store(name, ask_passphrase, lambda keystore: keystore.create(name, plain=plain))


@wallet.command("import")
@click.argument("name")
@click.option(
    "--from", "source", type=click.Path(path_type=Path, dir_okay=False), help="A mnemonic, or an exported wallet."
)
@click.option("--stdin", is_flag=True, help="Read the mnemonic from standard input.")
@click.option("--plain", is_flag=True, help="Store the words unencrypted: whoever reads the disk has the funds.")
@_ask
def import_(name: str, source: Path | None, stdin: bool, plain: bool, ask_passphrase: bool) -> None:
    """Store an existing wallet as NAME; without an option its mnemonic is asked for, and not shown.

    A file that holds a mnemonic must be of mode 0600. A wallet that `crucible wallet export` wrote is opened with this
    keystore's passphrase; if that is another one, the file's is asked for.

    Example: crucible wallet import btc-usd-5min --from ./btc-usd-5min.json
    """
    from crucible.chain.private_file import read_secret
    from crucible.errors import WalletError

    if source is not None and stdin:
        raise click.UsageError("--from and --stdin exclude one another.")
    if source is not None and source.is_file() and source.read_bytes().lstrip().startswith(b"{"):
        text = source.read_text()

        def bring(keystore: Keystore) -> Any:
            try:
                return keystore.import_encrypted(name, text)
            except WalletError as error:
                if "wrong passphrase" not in str(error) or not sys.stdin.isatty():
                    raise
            return keystore.import_encrypted(name, text, click.prompt("passphrase of the file", hide_input=True))

        _store(name, ask_passphrase, bring)
        return
    if source is not None:
        words = read_secret(source, "mnemonic")
    elif stdin:
        words = sys.stdin.read()
    else:
        words = click.prompt("mnemonic", hide_input=True)
    _store(name, ask_passphrase, lambda keystore: keystore.create(name, words, plain=plain))


@wallet.command()
@click.argument("name")
@click.option("--to", "target", type=click.Path(path_type=Path, dir_okay=False), help="A new file, of mode 0600.")
@click.option("--plain", is_flag=True, help="Export the mnemonic itself: whoever sees it has the funds.")
@_ask
def export(name: str, target: Path | None, plain: bool, ask_passphrase: bool) -> None:
    """Write NAME to a file, or to the terminal.

    By default that is the encrypted wallet, which is worth nothing without its passphrase. With --plain it is the
    mnemonic, and then only to a terminal or to a new file.

    Example: crucible wallet export btc-usd-5min --to ./btc-usd-5min.json
    """
    from crucible.chain.private_file import write_private
    from crucible.errors import WalletError

    keystore = _keystore(ask_passphrase)
    if plain and target is None and not sys.stdout.isatty():
        raise WalletError("A mnemonic is written to a terminal or with --to to a new file, and not into a pipe.")
    text = keystore.mnemonic(name) + "\n" if plain else keystore.encrypted(name)
    if target is None:
        click.echo(text, nl=False)
        return
    try:
        write_private(target, text)
    except FileExistsError:
        raise WalletError(f"{target} exists already; nothing was written.") from None
    click.echo(f"{name}  {keystore.address(name)}  ({target}, {'NOT encrypted' if plain else 'encrypted'})")


@wallet.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ls(as_json: bool) -> None:
    """List the wallets' names and addresses."""
    keystore = _keystore(False)
    found = {name: keystore.address(name) for name in keystore.names()}
    if as_json:
        click.echo(json.dumps([{"name": name, "address": address} for name, address in found.items()], indent=2))
        return
    for name, address in found.items():
        click.echo(f"{name}  {address}")


@wallet.command()
@click.argument("name")
@_ask
def show(name: str, ask_passphrase: bool) -> None:
    """Show the address of NAME, after opening it: the file, the passphrase and the address belong together."""
    click.echo(_keystore(ask_passphrase).open(name).address)


@wallet.command()
@click.option("--ask-new", is_flag=True, help="Ask for the new passphrase; otherwise it is a random one.")
@_ask
def passphrase(ask_new: bool, ask_passphrase: bool) -> None:
    """Encrypt every wallet anew, with another passphrase.

    A random one is kept in the file beside the wallets. If the passphrase comes from elsewhere, state the new one with
    --ask-new, and put it there afterwards. A change that was interrupted is finished by running it again.
    """
    keystore = _keystore(ask_passphrase)
    new = click.prompt("new passphrase", hide_input=True, confirmation_prompt=True) if ask_new else None
    changed = keystore.change_passphrase(new)
    click.echo(f"{len(changed)} wallets are encrypted anew: {', '.join(changed) or 'none'}")
    if keystore.passphrase.needs_telling:
        click.echo(f"Now put the new passphrase where the old one came from: {keystore.passphrase.source}.")


@wallet.command()
@click.argument("name")
def pin(name: str) -> None:
    """Tell the fleet that NAME is this host's wallet from now on, after replacing a wallet on purpose.

    A name stands for one address in a whole fleet; otherwise two hosts could submit for what both take for theirs.
    """
    from crucible.settings import Settings
    from crucible.worker.fleet_database import open_database
    from crucible.worker.wallet_pins import pin_wallet

    address = _keystore(False).open(name).address
    pin_wallet(open_database(Settings.load()), name, address, anew=True)
    click.echo(f"{name} is {address} in the whole fleet")


wallet.add_command(click.Command("list", callback=ls.callback, params=ls.params, help=ls.help, hidden=True))


def _keystore(ask: bool, *, storing: bool = False) -> Keystore:
    from crucible.chain.keystore import Keystore
    from crucible.settings import Settings

    asked: Callable[[], str] | None = None
    if ask:
        # twice where a wallet is to be stored: after a slip of the finger nobody could ever open it
        typed = click.prompt("passphrase", hide_input=True, confirmation_prompt=storing)
        asked = lambda: str(typed)  # noqa: E731 -- asked once, used for every wallet
    return Keystore(Settings.load().keystore, ask=asked)


def _store(name: str, ask: bool, make: Callable[[Keystore], Any]) -> None:
    keystore = _keystore(ask, storing=True)
    had_passphrase = keystore.passphrase_file.exists()
    made = make(keystore)
    encrypted = keystore.path(name).exists()
    stored = keystore.path(name) if encrypted else keystore.path(name).with_suffix(".mnemonic")
    click.echo(f"{name}  {made.address}  ({stored}, {'encrypted' if encrypted else 'NOT encrypted'})")
    if keystore.passphrase_file.exists() and not had_passphrase:
        click.echo(f"A random passphrase was written to {keystore.passphrase_file}; keep a copy of both files.")

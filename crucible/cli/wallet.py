"""``crucible wallet``: encrypted wallets."""

from __future__ import annotations

import click


@click.group()
def wallet() -> None:
    """Create and list encrypted wallets. Only addresses are ever shown."""


@wallet.command()
@click.argument("name")
@click.option("--import", "importing", is_flag=True, help="Ask for an existing mnemonic, without showing it.")
def create(name: str, importing: bool) -> None:
    """Make a wallet called NAME, or import one.

    The passphrase is CRUCIBLE_KEYSTORE_PASSPHRASE, or the file .passphrase beside the wallets, which is made if neither
    exists: keep a copy of it and of the wallet file, or the funds are gone with the disk.

    Example: crucible wallet create btc-usd-5min
    """
    from crucible.chain.keystore import Keystore
    from crucible.settings import Settings

    words = click.prompt("mnemonic", hide_input=True) if importing else None
    keystore = Keystore(Settings.load().keystore)
    had_passphrase = keystore.passphrase_file.exists()
    made = keystore.create(name, words)
    click.echo(f"{name}  {made.address}  ({keystore.path(name)}, encrypted)")
    if keystore.passphrase_file.exists() and not had_passphrase:
        click.echo(f"A random passphrase was written to {keystore.passphrase_file}; keep a copy of both files.")


@wallet.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List the wallets' names and addresses."""
    import json

    from crucible.chain.keystore import Keystore
    from crucible.settings import Settings

    keystore = Keystore(Settings.load().keystore)
    found = [{"name": name, "address": keystore.address(name)} for name in keystore.names()]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for row in found:
        click.echo(f"{row['name']}  {row['address']}")
    if not found:
        click.echo(f"There is no wallet in {keystore.folder}; make one with: crucible wallet create NAME")


@wallet.command()
@click.argument("name")
def show(name: str) -> None:
    """Show the address of NAME, after opening it: the file, the passphrase and the address belong together."""
    from crucible.chain.keystore import Keystore
    from crucible.settings import Settings

    click.echo(Keystore(Settings.load().keystore).open(name).address)

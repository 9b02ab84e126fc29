"""``crucible backup``: all state of the home as one file, and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from crucible.backup.archive import Manifest, Part

_FILE = click.argument("file")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def backup() -> None:
    """Save all state of the home as one file, and bring it back.

    Bars, features, bundles, evaluations, the trial ledger, journals, the fleet's state, Dagster's history, the MLflow
    store and the recipes. What a URL keeps elsewhere (a PostgreSQL database, an object store) is backed up by its own
    tools, not here.
    """


@backup.command()
@_FILE
@click.option(
    "--without", multiple=True, type=click.Choice(["bars", "features", "runs"]),
    help="Leave out bars (they can be fetched again), features (computed again) or runs (Dagster's history).",
)  # fmt: skip
@click.option("--with-keystore", "keystore", is_flag=True, help="Take the encrypted wallets along, and .passphrase.")
@_JSON
def create(file: str, without: tuple[Part, ...], keystore: bool, as_json: bool) -> None:
    """Write all state of the home to FILE, while it runs or not; compressed if it is called .gz.

    Without --with-keystore no wallet is inside. With it the file holds keys, and the passphrase if that lies beside
    them: keep it as you would keep them.

    FILE may be a URL, s3://bucket/name.tar.gz; credentials and endpoint come from AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL
    and the like.

    Example: crucible backup create crucible.tar.gz --without features
    """
    from crucible.backup.archive import create as write
    from crucible.backup.at_url import to_be_stored
    from crucible.settings import Settings

    settings = Settings.load()
    with to_be_stored(settings, file) as path:
        manifest = write(settings, path, without=without, keystore=keystore)
    _tell(manifest, as_json, f"written to {file}")


@backup.command()
@_FILE
@_JSON
def verify(file: str, as_json: bool) -> None:
    """Check every byte of FILE against its manifest; nothing is written.

    Example: crucible backup verify crucible.tar.gz
    """
    from crucible.backup.at_url import fetched
    from crucible.backup.restore import verify as check
    from crucible.settings import Settings

    with fetched(Settings.load(), file) as path:
        _tell(check(path), as_json, "every hash agrees")


@backup.command()
@_FILE
@_JSON
def restore(file: str, as_json: bool) -> None:
    """Bring the state in FILE into the home, which must be empty; every byte is checked first.

    Paths that name the old home are rewritten, so it may be another folder or another machine. A recipe that is there
    already and differs is kept; the saved one is put beside it. Stop the old home first: two workers with one wallet
    disturb each other.

    Example: CRUCIBLE_HOME=new crucible backup restore crucible.tar.gz
    """
    from crucible.backup.at_url import fetched
    from crucible.backup.restore import restore as bring
    from crucible.settings import Settings

    settings = Settings.load()
    with fetched(settings, file) as path:
        done = bring(settings, path)
    if not as_json:
        for path in done.differing:
            click.echo(f"{path.name.removesuffix('.from-backup')} differs from yours; the saved one is {path}")
        if done.moved:
            click.echo(f"{done.moved} stored paths now name {settings.home}")
    _tell(done.manifest, as_json, f"restored to {settings.home}; look at it with `crucible doctor`")


def _tell(manifest: Manifest, as_json: bool, what: str) -> None:
    if as_json:
        told = {
            "made_at": manifest.made_at, "crucible": manifest.crucible, "home": manifest.home,
            "files": len(manifest.files), "bytes": manifest.size, "without": list(manifest.without),
            "keystore": manifest.keystore,
        }  # fmt: skip
        click.echo(json.dumps(told, indent=2))
        return
    keys = "with the wallets" if manifest.keystore else "no wallets inside"
    click.echo(f"{len(manifest.files)} files, {manifest.size / 1e6:.1f} MB, of {manifest.made_at[:19]} UTC ({keys})")
    click.echo(what)

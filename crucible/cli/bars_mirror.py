"""``crucible bars push`` and ``pull``: a copy of the bars in an object store."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from crucible.market.mirror import Mirrored

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@click.argument("url")
@_JSON
def push(url: str, as_json: bool) -> None:
    """Copy every stored month to URL that is not there already: s3://bucket/folder, or file:///folder.

    Credentials and endpoint come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL and the like. What is
    cut off goes on where it ended.

    Example: crucible bars push s3://crucible/bars
    """
    from crucible.bar_stages import bar_store
    from crucible.market.mirror import push as copy
    from crucible.settings import Settings

    _tell(copy(bar_store(Settings.load()), url), as_json)


@click.command()
@click.argument("url")
@click.option("--replace", is_flag=True, help="Replace months that are here with other bars.")
@_JSON
def pull(url: str, replace: bool, as_json: bool) -> None:
    """Bring every month from URL that is not stored here; each is checked before it is put in place.

    Example: crucible bars pull s3://crucible/bars
    """
    from crucible.bar_stages import bar_store
    from crucible.market.mirror import pull as copy
    from crucible.settings import Settings

    _tell(copy(bar_store(Settings.load()), url, replace=replace), as_json)


def _tell(done: Mirrored, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(done), indent=2))
        return
    click.echo(f"{done.copied} months copied ({done.size / 1e6:.1f} MB), {done.same} were there already")
    for month in done.differing:
        click.echo(f"left alone, since it is here with other bars: {month} (--replace takes the other)")

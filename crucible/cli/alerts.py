"""``crucible alerts``: where they go, what holds, and whether they arrive."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def alerts() -> None:
    """Test the alert destinations, and show what holds and which rules there are."""


@alerts.command()
def test() -> None:
    """Send a test message to every destination, and call the dead-man's switch; exits 1 if one fails.

    Destinations are apprise URLs in CRUCIBLE_ALERT_URLS, or lines of data/monitor/alert_urls (chmod 600).
    """
    from crucible.errors import ProcessError, SettingsError
    from crucible.monitor.alerts import Message
    from crucible.monitor.send import load_sender, urls_file
    from crucible.settings import Settings

    settings = Settings.load()
    sender = load_sender(settings)
    if not sender.names and not sender.pings:
        raise SettingsError(
            f"There is no alert destination; set CRUCIBLE_ALERT_URLS, or write apprise URLs to {urls_file(settings)}."
        )
    taken = sender.send(Message("test", "alert", "notice", "Test", "Alerts of this Crucible home arrive here."))
    for name, arrived in taken.items():
        click.echo(f"{name}: {'taken' if arrived else 'REFUSED'}")
    pinged = sender.ping()
    if sender.pings:
        click.echo(f"dead-man's switch: {'answered' if pinged else 'NO ANSWER'}")
    if not all(taken.values()) or not pinged:
        raise ProcessError("Not every destination took the message; see above.")


@alerts.command("list")
@_JSON
def list_alerts(as_json: bool) -> None:
    """Show what holds at present, and since when."""
    from crucible.monitor.alerts import read_state
    from crucible.settings import Settings

    settings = Settings.load()
    state = read_state(settings.data / "monitor" / "alerts.json", settings.clock.now())
    told = [item for item in state.active.values() if item.told]
    if as_json:
        click.echo(json.dumps([asdict(item) for item in told], indent=2))
        return
    for item in told:
        click.echo(f"{item.key}  since {item.since[:16]}  {item.sentence}")
    if not told:
        click.echo("nothing holds")


@alerts.command()
@_JSON
def rules(as_json: bool) -> None:
    """List the rules."""
    from rich.console import Console
    from rich.table import Table

    from crucible.monitor.alert_rules import RULES

    if as_json:
        click.echo(json.dumps([{"name": r.name, "severity": r.severity, "means": r.means, "do": r.do} for r in RULES]))
        return
    table = Table("rule", "severity", "means", "what to do")
    for rule in RULES:
        table.add_row(rule.name, rule.severity, rule.means, rule.do)
    Console().print(table)

"""What an earlier version left in files, taken over into the fleet's database once per home."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from crucible.duration import parse_duration
from crucible.settings import Settings
from crucible.worker.fleet_database import FleetDatabase

if TYPE_CHECKING:
    from crucible.worker.deployment import Deployment

_LOG = logging.getLogger(__name__)
_UNKNOWN_EPOCH = 3600.0
_done: set[tuple[str, str]] = set()


def import_files(settings: Settings, database: FleetDatabase, host: str) -> None:
    """Take ``data/fleet/{desired,served}/*.json`` over, unless this home has done so before.

    What the database says already is left as it is. A file that cannot be read is logged and stays where it is; that
    worker must be deployed again.

    Raises
    ------
    StoreError
        If the database refuses.
    """
    mark = (database.name, str(settings.home))
    if mark in _done:
        return
    files = [(table, path) for table in ("desired", "served") for path in (settings.fleet / table).glob("*.json")]
    if files:
        with database.transaction():
            if not database.query("SELECT 1 FROM meta WHERE name = ?", f"imported {host}"):
                for table, path in sorted(files):
                    _import(database, host, table, path)
                database.put("meta", ("name",), {"name": f"imported {host}", "value": str(len(files))})
    _done.add(mark)


def known_epoch(deployment: Deployment) -> float:
    """Return the cadence of the deployment's topic in seconds of the clock's time, as its bundle states it.

    An hour, if there is no such bundle: the worker will refuse it and say why.
    """
    try:
        manifest = json.loads((Path(deployment.bundle_path) / "manifest.json").read_text())
        return parse_duration(manifest["recipe"]["topic"]["cadence"]).total_seconds()
    except (OSError, ValueError, KeyError, TypeError):
        return _UNKNOWN_EPOCH


def _import(database: FleetDatabase, host: str, table: str, path: Path) -> None:
    from crucible.worker.deployment import Deployment

    try:
        found = Deployment(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        _LOG.error("%s is damaged (%s) and is not taken over; deploy again", path, error)
        return
    row = {**asdict(found), "epoch_seconds": known_epoch(found)}
    if table == "served":
        database.put("served", ("host", "recipe"), {"host": host, **row})
    elif not database.query("SELECT 1 FROM desired WHERE recipe = ?", found.recipe):
        database.put("desired", ("recipe",), row)
        database.put("deployed", ("recipe", "generation"), row)
        _LOG.info("%s: generation %d taken over from %s", found.recipe, found.generation, path.name)

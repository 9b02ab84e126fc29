"""Dagster's instance folder: ``dagster.yaml``, and where runs and events are kept."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from crucible.errors import SettingsError
from crucible.process import write_atomic
from crucible.settings import Settings

STORE_VARIABLE = "CRUCIBLE_DAGSTER_STORE"

# Dagster's listening for events is written for this driver; SQLAlchemy 2.1 would take psycopg 3 for a bare postgresql://
_SCHEME = "postgresql+psycopg2://"

# the URL itself, with its password, is in no file: Dagster reads the variable
_POSTGRES = f"""
storage: # because {STORE_VARIABLE} is set
  postgres:
    postgres_url:
      env: {STORE_VARIABLE}
"""


def write_instance(settings: Settings, project: Path) -> Path:
    """Write ``dagster.yaml`` into the home's Dagster folder, and return that folder.

    Parameters
    ----------
    settings : Settings
        With :attr:`~crucible.settings.Settings.dagster_store`, runs, events and schedules are kept there, and else in
        SQLite files in the folder.
    project : pathlib.Path
        The folder that holds the project's ``dagster.yaml``.

    Raises
    ------
    SettingsError
        If the project has none, the store is no PostgreSQL URL, or its driver is not installed.
    StoreError
        If the disk refuses.
    """
    try:
        text = (project / "dagster.yaml").read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"There is no dagster.yaml in {project}; run this in Crucible's own folder.") from error
    if settings.dagster_store:
        if not settings.dagster_store.startswith(_SCHEME):
            raise SettingsError(f"{STORE_VARIABLE} must be a URL {_SCHEME}user:password@host/name, or empty.")
        if importlib.util.find_spec("dagster_postgres") is None:
            raise SettingsError(f"{STORE_VARIABLE} needs another package: pip install 'allora-crucible[server]'.")
        text += _POSTGRES
    write_atomic(settings.dagster_home / "dagster.yaml", text.encode())
    return settings.dagster_home

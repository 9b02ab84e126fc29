"""The MLflow store of a home: opened once per process, created by one process alone, its faults told in a sentence."""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from crucible.errors import RegistryError
from crucible.settings import Settings

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_SQLITE = b"SQLite format 3\x00"


def client(settings: Settings) -> MlflowClient:
    """Return an MLflow client on the home's store; the first call ever creates the store.

    Raises
    ------
    RegistryError
        If the store cannot be opened.
    """
    return _client(settings.tracking_uri, settings.mlruns)


@cache
def _client(uri: str, folder: Path) -> MlflowClient:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    # neither the creation of tables nor the copying of five files is news to a user
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    with refusals(f"The MLflow store {_shown(uri)} cannot be opened"):
        folder.mkdir(parents=True, exist_ok=True)
        if uri.startswith("sqlite:///"):
            _refuse_damage(Path(uri.removeprefix("sqlite:///")))
        elif not uri.startswith("http"):
            _knock(uri)
        from mlflow.tracking import MlflowClient

        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        # MLflow creates its tables when a store is opened; two processes that do so at once ruin each other
        with (folder / ".migration.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            opened = MlflowClient(tracking_uri=uri, registry_uri=uri)
            opened.search_experiments(max_results=1)
            opened.search_registered_models(max_results=1)
    return opened


def _shown(uri: str) -> str:
    """Return ``uri`` without a password."""
    return re.sub(r"(://[^:/@]+):[^@]*@", r"\1:***@", uri)


def _refuse_damage(database: Path) -> None:
    # MLflow would try for minutes to open what is no database
    if database.exists() and database.stat().st_size:
        with database.open("rb") as file:
            if file.read(len(_SQLITE)) != _SQLITE:
                raise RegistryError(f"{database} is no SQLite database; move it away, and a new store is made.")


def _knock(uri: str) -> None:
    # MLflow would try for a hundred seconds to reach a database that nobody serves
    from sqlalchemy import create_engine

    engine = create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Turn what MLflow, its database or the disk refuses into a :class:`RegistryError` that begins with ``what``."""
    try:
        yield
    except Exception as error:
        if not _is_refusal(error):
            raise
        reason = _shown(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise RegistryError(f"{what}: {reason.rstrip('.')}.") from error


def _is_refusal(error: Exception) -> bool:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, MlflowException | SQLAlchemyError | OSError)

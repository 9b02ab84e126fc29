"""Where things are: folders and endpoints, from the environment and from a running ``crucible up``.

Order of precedence: an environment variable (or, for a secret, the file that ``…_FILE`` names), then
``<home>/data/endpoints.json`` (written while ``crucible up`` or ``crucible demo`` runs, removed when it stops), then
the default. Nothing else in Crucible reads the environment.

``CRUCIBLE_NETWORK`` (or ``--network``) decides between them: ``testnet`` and ``mainnet`` mean the public networks,
whatever runs here; ``local`` means what runs here, and is refused if nothing does; without it, what runs here counts,
and else testnet.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from crucible.clock import Clock, parse_clock
from crucible.errors import SettingsError
from crucible.topics.catalogue import Network

CHAIN_IDS: dict[Network, str] = {"testnet": "allora-testnet-1", "mainnet": "allora-mainnet-1"}

LOCAL = "local"
"""The network that runs in this home; it has the topic ids of whichever network it was started for."""

PUBLIC: dict[Network, dict[str, str]] = {
    "testnet": {
        "grpc_url": "grpc+https://allora-grpc.testnet.allora.network:443",
        "websocket_url": "wss://allora-rpc.testnet.allora.network/websocket",
        "faucet_url": "https://faucet.testnet.allora.run",
    },
    "mainnet": {
        "grpc_url": "grpc+https://allora-grpc.mainnet.allora.network:443",
        "websocket_url": "wss://allora-rpc.mainnet.allora.network/websocket",
        "faucet_url": "",
    },
}
"""The public networks' endpoints."""


_SECRETS = ("allora_key", "mlflow_store", "dagster_store", "fleet_database", "alert_urls", "alert_ping")
"""Fields that may hold a password: never read from the endpoints file, which everybody may read, and instead of the
value a file that holds it may be named."""


@dataclass(frozen=True)
class Settings:
    """Folders and endpoints of one Crucible home.

    Every field can be set by the environment variable ``CRUCIBLE_<FIELD>`` in capitals; one that may hold a password
    also by ``CRUCIBLE_<FIELD>_FILE``, the file that holds it.
    """

    home: Path
    """The folder that holds ``data/`` and ``mlruns/``."""
    recipes: Path
    """The folder of recipe files."""
    network: Network = "testnet"
    """Which of a recipe's topic ids is meant. The variable (and ``--network``) may also say ``local``."""
    clock_text: str = "system"
    """See :mod:`crucible.clock`. (Environment: ``CRUCIBLE_CLOCK``.)"""
    exchange_url: str = ""
    """Base URL of the exchange, ``http://host:port``; empty for the exchange's own."""
    grpc_url: str = "grpc+https://allora-grpc.testnet.allora.network:443"
    """The node's gRPC endpoint, ``grpc+http(s)://host:port``; several separated by commas."""
    websocket_url: str = "wss://allora-rpc.testnet.allora.network/websocket"
    """CometBFT's websocket; several separated by commas."""
    faucet_url: str = "https://faucet.testnet.allora.run"
    """The faucet; empty where there is none."""
    fee: str = "standard"
    """``eco``, ``standard`` or ``priority``, and after a colon the most that a transaction may cost, in uallo."""
    api_url: str = "https://api.allora.network/v2"
    """The topic-list API."""
    allora_key: str = field(default="", repr=False)
    """The key of Allora's data service, for the source ``allora``; never written to a file or a log."""
    mlflow_store: str = field(default="", repr=False)
    """MLflow's database, ``sqlite:///path`` or ``postgresql+psycopg://user:password@host/name``; empty for
    ``mlruns/mlflow.db``. Never written to a log."""
    dagster_store: str = field(default="", repr=False)
    """Where Dagster keeps runs, events and schedules, ``postgresql+psycopg2://user:password@host/name``; empty for
    files in ``data/dagster``. Needs the extra ``server``. Never written to a file or a log."""
    artifact_root: str = ""
    """Where MLflow keeps bundles and reports, a folder or ``s3://bucket/prefix``; empty for ``mlruns/artifacts``."""
    dask_scheduler: str = ""
    """A Dask scheduler, ``tcp://host:port``, that fits are sent to; empty for processes of this machine."""
    fleet_database: str = field(default="", repr=False)
    """The fleet's database, ``sqlite:///path`` or ``postgresql://…``; empty for ``data/fleet/fleet.db``.

    It may hold a password, so it is never written to a file or a log.
    """
    alert_urls: str = field(default="", repr=False)
    """Where alerts go: apprise URLs, separated by spaces or commas; never written to a file or a log."""
    alert_ping: str = field(default="", repr=False)
    """The dead-man's URL, called every minute while all is well; never written to a file or a log."""
    dagster_url: str = ""
    """The Dagster UI, while it runs."""
    mlflow_url: str = ""
    """The MLflow UI, while it runs."""
    confirm: str = ""
    """The word ``mainnet`` here says that signing and deploying there is meant, in place of typing it."""

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings.

        Parameters
        ----------
        environ : mapping, optional
            The environment; ``os.environ`` by default.

        Raises
        ------
        SettingsError
            If a value makes no sense, or the endpoints file is damaged.
        """
        env = os.environ if environ is None else environ
        home = Path(env.get("CRUCIBLE_HOME", ".")).resolve()
        if home.exists() and not home.is_dir():
            raise SettingsError(f"CRUCIBLE_HOME is {home}, which is no folder.")
        values: dict[str, Any] = {"home": home, "recipes": Path(env.get("CRUCIBLE_RECIPES", "recipes")).resolve()}
        values |= _endpoints(env.get("CRUCIBLE_NETWORK", ""), home / "data" / "endpoints.json")
        for item in fields(cls):
            name = "CRUCIBLE_CLOCK" if item.name == "clock_text" else f"CRUCIBLE_{item.name.upper()}"
            if item.name not in ("home", "recipes", "network") and name in env:
                values[item.name] = env[name]
            if item.name in _SECRETS and not values.get(item.name) and env.get(f"{name}_FILE"):
                values[item.name] = _read_secret(f"{name}_FILE", Path(env[f"{name}_FILE"]))
        settings = cls(**values)
        parse_clock(settings.clock_text)
        return settings

    @property
    def clock(self) -> Clock:
        """The clock that all processes of this home share."""
        return parse_clock(self.clock_text)

    @property
    def chain_id(self) -> str:
        """The chain id of the network."""
        return CHAIN_IDS[self.network]

    @property
    def data(self) -> Path:
        """Everything that is produced, apart from the MLflow store."""
        return self.home / "data"

    @property
    def bars(self) -> Path:
        """Root of the Parquet bar store."""
        return self.data / "bars"

    @property
    def quality(self) -> Path:
        """What the quality checks found: JSON per month, and ``index.html``."""
        return self.data / "quality"

    @property
    def features(self) -> Path:
        """Root of the feature cache."""
        return self.data / "features"

    @property
    def evaluations(self) -> Path:
        """Out-of-sample predictions, reports and verdicts, one folder per evaluation."""
        return self.data / "evaluations"

    @property
    def bundles(self) -> Path:
        """Model bundles by content hash."""
        return self.data / "bundles"

    @property
    def fleet(self) -> Path:
        """Desired and actual state of the workers, their journals and logs."""
        return self.data / "fleet"

    @property
    def keystore(self) -> Path:
        """Encrypted wallets."""
        return self.data / "keystore"

    @property
    def dagster_home(self) -> Path:
        """Dagster's instance folder."""
        return self.data / "dagster"

    @property
    def mlruns(self) -> Path:
        """The MLflow store."""
        return self.home / "mlruns"

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking and registry URI."""
        return self.mlflow_store or f"sqlite:///{self.mlruns / 'mlflow.db'}"

    @property
    def artifacts(self) -> str:
        """The URL below which MLflow's experiments keep their artifacts, without a slash at its end."""
        if "://" in self.artifact_root:
            return self.artifact_root.rstrip("/")
        return (Path(self.artifact_root).resolve() if self.artifact_root else self.mlruns / "artifacts").as_uri()

    @property
    def endpoints_file(self) -> Path:
        """Where a running ``crucible up`` tells other commands its endpoints."""
        return self.data / "endpoints.json"

    def environment(self) -> dict[str, str]:
        """Return the environment variables that give a child process equal settings."""
        values = asdict(self)
        values["clock"] = values.pop("clock_text")
        return {f"CRUCIBLE_{name.upper()}": str(value) for name, value in values.items()}


def _read_secret(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name} names {path}, which cannot be read ({error}).") from error


def _endpoints(wanted: str, path: Path) -> dict[str, Any]:
    """Return what the word for a network, or what runs here, says about endpoints."""
    if wanted in CHAIN_IDS:
        return {"network": wanted, **PUBLIC[wanted]}
    if wanted not in ("", LOCAL):
        near = difflib.get_close_matches(wanted, [*CHAIN_IDS, LOCAL], n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise SettingsError(f"CRUCIBLE_NETWORK is {wanted!r}; it must be local, testnet or mainnet{hint}")
    running = _read_endpoints(path)
    if wanted == LOCAL and not running:
        raise SettingsError("No local network runs in this home; start one with `crucible up`, in another terminal.")
    return running


def _read_endpoints(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read ({error}); delete it and start `crucible up` again.") from error
    allowed = {item.name for item in fields(Settings)} - {"home", "recipes", *_SECRETS}
    return {name: value for name, value in values.items() if name in allowed}

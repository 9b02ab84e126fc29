"""Which host this is: a name for one home on one machine, and seconds that pass also while the machine sleeps."""

from __future__ import annotations

import json
import secrets
import socket
import time
from pathlib import Path

from crucible.errors import StoreError
from crucible.process import write_json
from crucible.settings import Settings


def host_id(settings: Settings) -> str:
    """Return the name under which this home appears in the fleet's database, ``<hostname>-<random>``.

    It is made once and kept in ``data/fleet/host.json``. A home that was copied to another machine or folder gets
    another one: two hosts of the same name would both believe that a lease is theirs.

    Raises
    ------
    StoreError
        If the disk refuses.
    """
    path = settings.fleet / "host.json"
    here = {"hostname": socket.gethostname(), "machine": _machine(), "home": str(settings.home)}
    try:
        known = json.loads(path.read_text())
        if {name: known.get(name) for name in here} == here:
            return str(known["id"])
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, KeyError, AttributeError):
        pass  # a damaged file is replaced; the new name waits for the old one's leases to end, as another host would
    name = f"{here['hostname']}-{secrets.token_hex(4)}"
    write_json(path, {**here, "id": name})
    return str(json.loads(path.read_text())["id"])  # of two processes that make it at once, the later one counts


def elapsed() -> float:
    """Return seconds since some fixed moment, counted through sleep and never set back.

    A plain monotonic clock stands still while a laptop sleeps or a machine is suspended; whoever woke up would take
    an old lease for a fresh one.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # on macOS CLOCK_MONOTONIC counts sleep
    return time.clock_gettime(clock)


def _machine() -> str:
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""  # macOS, and some containers

"""A home with many workers, whose journals the real Journal has written, for tests and measurements."""

from __future__ import annotations

import hashlib
import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import psutil

from crucible.clock import ManualClock, SystemClock
from crucible.settings import Settings
from crucible.worker.deployment import Actual, Deployment, journal_path, write_actual, write_desired
from crucible.worker.journal import Journal

ROOT = Path(__file__).resolve().parents[1]
EPOCH = timedelta(minutes=5)
ADDRESS = "allo1ex78ahghjzye7dpz79mah7zvcq8hjpss35tq2a"
KINDS = ("well", "well", "well", "gappy", "well", "silent")


def make_home(home: Path, workers: int, epochs: int, known: dict[str, Path] | None = None) -> Settings:
    """Make a home; each kind of journal is written once and copied, because every step is fsynced.

    ``known`` keeps journals by kind from one home to the next.
    """
    settings = Settings(home=home, recipes=home / "recipes")
    now = SystemClock().now()
    text = (ROOT / "recipes" / "btc_usd_5min.toml").read_text()
    settings.recipes.mkdir(parents=True)
    written = {} if known is None else known
    for index in range(workers):
        name, kind = f"worker_{index:02d}", KINDS[index % len(KINDS)]
        (settings.recipes / f"{name}.toml").write_text(text.replace('"btc_usd_5min"', f'"{name}"', 1))
        path = journal_path(settings, name)
        if kind in written:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(written[kind], path)
        else:
            write_journal(path, kind, epochs, now)
            written[kind] = path
        write_desired(settings, deployment(name, now - epochs * EPOCH))
        report(settings, name)
        log = settings.fleet / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"{now.isoformat()} INFO nonce 845 included 846\n" * 30)
    return settings


def deployment(name: str, at: datetime, generation: int = 1) -> Deployment:
    return Deployment(
        recipe=name, generation=generation, bundle="17f6208c" * 8, bundle_path="/nowhere", model_version=3, topic_id=77,
        wallet="btc-usd-5min", written_at=at.isoformat(),
    )  # fmt: skip


def report(settings: Settings, name: str, **changes: object) -> None:
    process = psutil.Process(os.getpid())
    values = {
        "recipe": name, "pid": process.pid, "started": process.create_time(), "state": "ready",
        "bundle": "17f6208c" * 8, "generation": 1, "model_version": 3, "refused_generation": 0, "address": ADDRESS,
        "last_nonce": 845, "beat": SystemClock().now().timestamp(), "message": "nonce 845 included",
    }  # fmt: skip
    write_actual(settings, Actual(**{**values, **changes}))


def write_journal(
    path: Path, kind: str, epochs: int, now: datetime, *, content: bytes = b"\xff\xff\xff", first: int = 1000
) -> None:
    """Write ``epochs`` epochs that end now; those of a silent worker end six epochs ago."""
    ended = now - (6 if kind == "silent" else 0.6) * EPOCH
    clock = ManualClock(ended - epochs * EPOCH)
    with Journal(path, clock, chain_id="allora-testnet-1", topic_id=77, address=ADDRESS) as journal:
        for index in range(epochs):
            nonce, start = first + 12 * index, ended - (epochs - index) * EPOCH
            clock.at = start
            journal.seen(nonce, nonce + 8)
            if kind == "gappy" and index % 13 in (3, 4) and index % 4:
                why = "the node did not answer" if index % 3 else "the newest bar is 11 minutes old, 10 are allowed"
                journal.move(nonce, "missed", reason=why)
                continue
            clock.at = start + timedelta(seconds=2 + index % 5)
            when = start.isoformat()
            journal.move(
                nonce, "predicted", value=9.5e4 + index % 97 * 3.1, predicted_for=when, bundle="17f6208c" * 8,
                model_version=3,
            )  # fmt: skip
            digest = hashlib.sha256(content).hexdigest().upper()
            journal.move(nonce, "signed", tx_hash=digest, tx_content=content, sequence=index)
            journal.move(nonce, "broadcast")
            clock.at = start + timedelta(seconds=20 + index % 23)
            journal.move(nonce, "included", height=nonce + 1, code=0)
            if index < epochs - 2:
                score = 0.02 * ((index * 7919) % 101 / 50 - 0.9)
                clock.at = start + 2 * EPOCH
                journal.move(nonce, "scored", score=score)

"""Whole workers in a storm of faults: every window accounted for, nothing said or paid twice, and few lost.

The plain suite lets the storm last for some 150 windows, with everything scaled down: 0.05 s blocks, epochs of two
seconds, and a window counts when a second of it was undisturbed. ``CRUCIBLE_PROVE=1`` makes it 10,000 windows of eight
seconds, of which those count that were undisturbed for five.
"""

import json
import os
from pathlib import Path

import pytest
from fault_storm import Storm, Weather

pytestmark = pytest.mark.processes
OUT = os.environ.get("CRUCIBLE_STORM_OUT", "")  # a file for the figures
SEED = int(os.environ.get("CRUCIBLE_STORM_SEED", "7"))
PROVE = bool(os.environ.get("CRUCIBLE_PROVE"))
SHORT = Weather(
    topics=8, wallets=4, block=0.05, epoch=50, window=42, clear=1.2, short=(0.05, 0.3), long=(0.3, 2.0),
    calm=(0.3, 1.2),
)  # fmt: skip
LONG = Weather(
    topics=10, wallets=6, block=0.1, epoch=100, window=85, clear=5.0, short=(0.2, 2.0), long=(2.0, 9.0),
    calm=(2.0, 9.0),
)  # fmt: skip
LEAST = 0.995 if PROVE else 0.97  # of a hundred windows, one more or less
WINDOWS = int(os.environ.get("CRUCIBLE_STORM", "10000" if PROVE else "130"))


@pytest.mark.timeout(3600 if PROVE else 400)
def test_every_window_of_a_storm_is_accounted_for(tmp_path):
    with Storm(LONG if PROVE else SHORT, tmp_path, seed=SEED) as storm:
        storm.begin(150)
        storm.rage(WINDOWS, 3000 if PROVE else 120)
        storm.settle()
        account = storm.account()
        found = json.dumps(account.report(), indent=1)
        if OUT:
            Path(OUT).write_text("\n".join([found, *map(str, account.lost())]))
        # what was said and paid
        assert storm.witness.conflicts() == {}
        assert {key: times for key, times in storm.witness.done.items() if times > 1} == {}
        assert [log for _, log in storm.witness.codes if "already submitted" in log] == []
        # what is known of it
        assert account.untold() == [], found
        assert account.unexplained() == [], found
        assert "Traceback" not in (tmp_path / "workers.log").read_text()
        answered, chances = account.share()
        assert chances > len(account.owed) / 10, found
        assert answered >= LEAST * chances, "\n".join([found, *account.lost()])

from datetime import UTC, datetime, timedelta

import pytest

from crucible.clock import ManualClock, ScaledClock, SteppedClock, SystemClock, parse_clock
from crucible.errors import SettingsError

START = datetime(2026, 2, 1, tzinfo=UTC)


def test_a_scaled_clock_is_rebuilt_from_its_text_and_runs_fast():
    clock = ScaledClock.starting(START, speed=3600.0)
    twin = parse_clock(clock.text())
    assert twin == clock
    assert clock.wall_seconds(timedelta(hours=1)) == 1.0
    first = clock.now()
    assert first >= START
    assert abs(twin.now() - first) < timedelta(hours=2)


def test_the_system_clock_is_utc():
    assert parse_clock("system") == SystemClock()
    assert SystemClock().now().utcoffset() == timedelta(0)


async def _sleep(clock: ManualClock) -> None:
    await clock.sleep(timedelta(minutes=5))


def test_sleeping_moves_a_manual_clock_and_tells_its_listeners():
    import asyncio

    told: list[datetime] = []
    clock = ManualClock(START, on_advance=[told.append])
    asyncio.run(_sleep(clock))
    assert told == [START + timedelta(minutes=5)] == [clock.now()]


def test_a_stepped_clock_is_the_same_for_all_who_read_its_file(tmp_path):
    import asyncio

    clock = SteppedClock(tmp_path / "clock", 60.0)
    clock.move_to(START)
    twin = parse_clock(clock.text())
    assert twin == clock
    assert twin.now() == START
    assert twin.wall_seconds(timedelta(hours=1)) == 60.0

    async def woken() -> datetime:
        sleeping = asyncio.create_task(twin.sleep(timedelta(hours=1)))
        await asyncio.sleep(0.05)
        assert not sleeping.done()
        clock.move_to(START + timedelta(hours=2))
        await asyncio.wait_for(sleeping, timeout=5)
        return twin.now()

    assert asyncio.run(woken()) == START + timedelta(hours=2)
    clock.path.write_text("noon")
    with pytest.raises(SettingsError, match=r"stepped clock .* cannot be read"):
        twin.now()


@pytest.mark.parametrize(
    "text", ["", "noon", "stepped:0:/x", "2026-02-01@1x60", "2026-02-01T00:00:00Z@1x0", "2026-02-01T00:00:00Z@x"]
)
def test_nonsense_is_refused_in_one_sentence(text):
    with pytest.raises(SettingsError, match=r"clock|CLOCK"):
        parse_clock(text)

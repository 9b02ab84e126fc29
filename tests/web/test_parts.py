"""Charts, health, secrets, contrast: what the pages are made of."""

import itertools
import re
import shutil
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from importlib.resources import files

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_world import deployment

from crucible.clock import SystemClock
from crucible.web import sources, values
from crucible.web.changes import mark_of
from crucible.web.charts import Line, chart, kind_of, strip
from crucible.web.health import health_of
from crucible.web.logs import HIDDEN, hidden, log_files, tail
from crucible.web.monitor_files import Monitored
from crucible.web.sources import Summary, Worker
from crucible.worker.deployment import Actual, journal_path
from crucible.worker.journal import FOLLOWS

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.lists(numbers, max_size=700), st.text(max_size=20))
def test_a_chart_is_well_formed_bounded_and_keeps_its_extremes(points, name):
    name = "".join(letter for letter in name if letter.isprintable())
    figure = str(chart([Line(name, points)], title="Title <", unit="&", ends=("a", "b")))
    known = [point for point in points if point is not None]
    assert bool(figure) == (len(known) > 1)
    if figure:
        assert len(figure) < 9_000
        path = ET.fromstring(figure).find(".//path[@class='line l0']").get("d")
        heights = [float(y) for y in re.findall(r"[ML]\d+ ([-\d.]+)", path)]
        if len(known) == len(points):
            assert heights
            assert min(heights) >= 0
            assert max(heights) <= 120
            low, high = min(known), max(known)
            room = 0.05 * (high - low)
            if high - low > 1e-3:  # the lowest and the highest value are drawn, wherever they stand
                floor = 0.0 if 0 <= low < room else low - room
                assert min(heights) == pytest.approx(120 * room / (high + room - floor), abs=0.2)
                assert max(heights) == pytest.approx(120 * (high + room - low) / (high + room - floor), abs=0.2)


def test_numbers_beyond_any_scale_draw_nothing():
    assert chart([Line("x", [-1.7e308, 1.7e308])], title="", unit="", ends=("", "")) == ""
    assert chart([Line("x", [1e-320, 3e-320])], title="", unit="", ends=("", "")) != ""


@pytest.mark.parametrize(
    ("points", "ticks"),
    [
        ((-0.02387, 0.0238747), ["0.0263", "0", "\N{MINUS SIGN}0.0263"]),
        ((94_000.123, 94_216.168), ["94,227", "94,108", "93,989"]),
        ((0.0, 3.0), ["3.15", "1.57", "0"]),
    ],
)
def test_a_scale_is_as_fine_as_an_eye_can_tell(points, ticks):
    figure = str(chart([Line("x", points)], title="", unit="", ends=("", ""), form=",.6g"))
    assert re.findall(r"<span>([^<]+)</span>", figure[figure.index("scale") : figure.index("<svg")]) == ticks


@given(st.lists(st.sampled_from(sorted(FOLLOWS)), min_size=1, max_size=300), st.integers(1, 100))
def test_a_strip_has_one_cell_for_every_epoch(states, per_row):
    drawn = ET.fromstring(str(strip(states, per_row=per_row, label="x")))
    cells = {path.get("class"): path.get("d") for path in drawn}
    for kind in ("ok", "lost", "left", "open"):
        width = sum(int(wide) for wide in re.findall(r"h(\d+)v", cells.get(kind, "")))
        assert width == sum(kind_of(state) == kind for state in states)


def lasting(days: float) -> Monitored:
    """A wallet that has spent 1 uallo a day and has so many left."""
    return Monitored(((NOW - timedelta(days=1), days + 1), (NOW, days)))


def summary(accepted_at: datetime | None) -> Summary:
    return Summary(10, 9, 1, (), (), accepted_at.isoformat() if accepted_at else None, None, None)


def worker(recipe, **changes) -> Worker:
    process = psutil.Process()
    report = Actual(
        recipe="one", pid=process.pid, bundle="b", generation=1, model_version=1,
        address="a", last_nonce=1, message="", beat=SystemClock().now().timestamp(),
        **{"state": "ready", "started": process.create_time(), "refused_generation": 0, **changes},
    )  # fmt: skip
    return Worker("one", recipe, deployment("one", NOW - timedelta(days=1)), report)


@pytest.mark.parametrize(
    ("epochs", "level", "word"),
    [(0.1, "good", "healthy"), (1.9, "good", "healthy"), (2.1, "watch", "late"),
     (3.1, "bad", "silent"), (99, "bad", "silent")],
)  # fmt: skip
def test_health_is_the_time_since_the_last_accepted_submission_against_the_epoch(recipe, epochs, level, word):
    found = health_of(worker(recipe), summary(NOW - epochs * recipe.topic.cadence), Monitored(), NOW)
    assert (found.level, found.word) == (level, word)


def test_health_tells_the_most_urgent_thing(recipe):
    well = summary(NOW)
    assert health_of(worker(recipe, state="failed"), well, Monitored(), NOW).word == "failed"
    assert health_of(worker(recipe, started=1.0), well, Monitored(), NOW).word == "not running"
    refused = worker(recipe, refused_generation=1, refusal="another schema")
    assert "another schema" in health_of(refused, well, Monitored(), NOW).sentence
    assert health_of(refused, summary(NOW - timedelta(days=1)), Monitored(), NOW).word == "silent"
    assert health_of(worker(recipe), well, lasting(0.25), NOW).level == "bad"
    assert health_of(worker(recipe), well, lasting(5), NOW).level == "watch"
    assert health_of(worker(recipe), well, lasting(9), NOW).level == "good"
    assert health_of(worker(recipe), summary(None), Monitored(), NOW).word == "silent"  # deployed a day ago
    assert health_of(worker(recipe), None, Monitored(), NOW).level != "good"
    assert health_of(Worker("one", recipe, None, None), None, Monitored(), NOW).level == "off"
    assert health_of(Worker("one", None, None, None, "broken"), None, Monitored(), NOW).level == "bad"


MNEMONIC = "abandon ability able about above absent absorb abstract absurd abuse access accident"


@pytest.mark.parametrize(
    "line",
    ["password=hunter22", "CRUCIBLE_KEYSTORE_PASSPHRASE: hunter22", '{"api_key": "hunter22"}', "--token hunter22",
     "postgresql://me:hunter22@db.example/x refuses", "Authorization: Bearer hunter22aa", "x-api-key=hunter22",
     "the password is hunter22", "Cookie: a=hunter22; b=1", "secret='hunter22 and more'", "bearer hunter22hunter22",
     "key UP-0123456789abcdefhunter22".replace("hunter22", "0123"), f"mnemonic {MNEMONIC}", MNEMONIC,
     f"words: {MNEMONIC.replace(' ', ', ')}", "private_key=hunter22", "eyJhbGciOiJI.eyJzdWIiOiIx.hunter22",
     "hunter22 alone, which the settings hold"],
)  # fmt: skip
def test_no_secret_is_shown(line):
    shown = hidden(line, ["hunter22 alone"])
    assert HIDDEN in shown
    assert "hunter22" not in shown
    assert "0123456789abcdef" not in shown
    assert "absorb" not in shown


@pytest.mark.parametrize(
    "line",
    ["2026-01-05T05:50:06+00:00 INFO nonce 833 broadcast value 94931.1",
     "bundle 17f6208c52670ac8d5fbb05f2273842a, version 1",
     "E5CFDF4ED1BF6238B83CA8712A2BC43A4271E5DBA7D6720C3C8AB19F3F53CE5C", "allo1ex78ahghjzye7dpz79mah7zvcq8hjpss35tq2a",
     "The node http://127.0.0.1:9090 did not answer; another try in 3 s."],
)  # fmt: skip
def test_what_is_no_secret_stays(line):
    assert hidden(line) == line


@given(st.text(max_size=300))
def test_hiding_leaves_no_control_code_and_takes_no_time(text):
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", hidden(text))


def test_hiding_in_a_long_line_is_quick():
    for piece in ("abc def ", "password ", "a://", "x" * 4, "eyJ" * 4, "--token", "is is ", "='"):
        started = SystemClock().now()
        hidden((piece * 2000)[:2000])
        assert (SystemClock().now() - started).total_seconds() < 0.5


def test_the_tail_of_a_log_is_its_tail(home):
    path = log_files(home)["fleet.worker_00"]
    path.write_bytes(b"first\n" + b"y" * 200_000 + b"\n\xff\x1b[31mred\x1b[0m\npassphrase: abc\nlast")
    assert tail(path, 4)[-3:] == ["\ufffdred", f"passphrase: {HIDDEN}", "last"]
    assert len(tail(path, 4)) == 3  # the long line is cut off at its beginning
    assert tail(path, 1) == ["last"]


def test_a_change_changes_the_mark_of_what_watches_it(home):
    before = {watch: mark_of(home, watch) for watch in ("fleet", "worker:worker_00", "worker:worker_01", "log:nothing")}
    journal = journal_path(home, "worker_00")
    journal.write_bytes(journal.read_bytes() + b"\0" * 4096)
    changed = {watch for watch, mark in before.items() if mark_of(home, watch) != mark}
    assert changed == {"fleet", "worker:worker_00"}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (5.5, "5.5 s"), (59, "59 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"),
     (9000, "2.5 h"), (86_400, "24 h"), (172_800, "2 d"), (864_000, "10 d")],
)  # fmt: skip
def test_durations_read_as_a_person_says_them(seconds, words):
    assert values.span(timedelta(seconds=seconds)) == words


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_share_says_all_only_of_all(part, more):
    whole = part + more
    assert values.share(part, whole) != "100 %"
    assert (values.share(part, whole) == "0 %") == (part == 0)
    assert values.share(whole, whole) == "100 %"


def palettes() -> dict[str, dict[str, str]]:
    text = files("crucible.web").joinpath("static", "style.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", text, re.S)
    found = [dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block)) for block in blocks]
    assert len(found) == 2
    assert set(found[0]) == set(found[1])
    return {"light": found[0], "dark": found[1]}


def contrast(one: str, two: str) -> float:
    """WCAG 2.2: relative luminance of sRGB colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground_and_marks_from_theirs(scheme):
    colours = palettes()[scheme]
    grounds = [colours["paper"], colours["raised"]]
    for name, ground in itertools.product(("ink", "muted", "accent", "good", "watch", "bad"), grounds):
        assert contrast(colours[name], ground) >= 4.5, name
    assert contrast(colours["paper"], colours["accent"]) >= 4.5  # buttons
    assert contrast(colours["paper"], colours["bad"]) >= 4.5  # badges
    for name, ground in itertools.product(("mark", "open", "second", "third", "fourth"), grounds):
        assert contrast(colours[name], ground) >= 3, name
    assert contrast(colours["ink"], colours["line"]) >= 4.5  # links under the pointer


def test_the_fleet_read_at_once_is_what_each_worker_read_by_itself_is(home):
    (home.recipes / "worker_05.toml").unlink()  # deployed, without a recipe's file
    shutil.copyfile(
        home.recipes / "worker_00.toml", home.recipes / "another.toml"
    )  # a recipe that calls itself otherwise
    found = sources.workers(home)
    assert [worker.name for worker in found] == sources.names(home)
    assert found == [sources.worker(home, worker.name) for worker in found]
    assert [worker.name for worker in found if worker.trouble] == ["another"]
    assert [worker.name for worker in found if worker.desired is None] == ["another"]

"""What the recipe takes for a cron line, Dagster does too: one that it refuses would take every asset with it."""

import pytest
from dagster._utils.schedules import is_valid_cron_schedule
from hypothesis import given
from hypothesis import strategies as st

from crucible.cron import check_cron

fields = st.lists(
    st.one_of(
        st.sampled_from(
            ["*", "*/5", "*/70", "0", "7", "31", "mon", "jan", "sun-tue", "5/15", "", "x", "-1", "1-", "*/0"]
        ),
        st.builds("{}-{}".format, st.integers(0, 60), st.integers(0, 60)),
        st.builds("{}-{}/{}".format, st.integers(0, 30), st.integers(0, 60), st.integers(0, 9)),
        st.builds("{},{}".format, st.integers(0, 60), st.integers(0, 60)),
    ),
    min_size=4,
    max_size=6,
)


@given(fields)
def test_what_is_taken_dagster_takes(parts):
    line = " ".join(parts)
    try:
        taken = check_cron(line)
    except ValueError:
        return  # stricter is no harm: the usual lines are below
    assert is_valid_cron_schedule(taken), line


@pytest.mark.parametrize(
    "line", ["0 3 * * *", "*/15 * * * *", "5,35 0-6/2 1,15 jan-mar mon-fri", "0 0 31 12 6", "@daily", "59 23 * * sun"]
)
def test_usual_lines_are_taken(line):
    assert check_cron(line) == line
    assert is_valid_cron_schedule(line)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("every day", "write five fields"),
        ("0 24 * * *", "'24' is no hour, which is * or from 0 to 23"),
        ("60 * * * *", "no minute"),
        ("* * 0 * *", "no day of the month"),
        ("* * * foo *", "no month"),
        ("* * * * 5-1", "no day of the week"),
    ],
)
def test_a_wrong_field_is_named(line, words):
    with pytest.raises(ValueError, match="is no cron line") as caught:
        check_cron(line)
    assert words in str(caught.value)

import json

import pytest
from alert_receiver import Receiver
from click.testing import CliRunner

from crucible.cli import crucible
from crucible.errors import ProcessError, SettingsError
from crucible.monitor.alert_rules import RULES


@pytest.fixture
def receiver():
    with Receiver() as found:
        yield found


@pytest.fixture
def typed(home, monkeypatch):
    for name, value in home.environment().items():
        monkeypatch.setenv(name, value)
    return lambda *words: CliRunner().invoke(crucible, ["alerts", *words])


def test_a_test_message_arrives_and_the_switch_is_called(typed, receiver, monkeypatch):
    monkeypatch.setenv("CRUCIBLE_ALERT_URLS", receiver.alert_url)
    monkeypatch.setenv("CRUCIBLE_ALERT_PING", receiver.ping_url)
    done = typed("test")
    assert done.exit_code == 0, done.output
    assert done.output == "1 (json): taken\ndead-man's switch: answered\n"
    assert (receiver.titles, receiver.pings) == (["[crucible] Test"], 1)


def test_a_refusal_and_a_missing_destination_exit_1(typed, receiver, monkeypatch):
    assert isinstance(typed("test").exception, SettingsError)
    monkeypatch.setenv("CRUCIBLE_ALERT_URLS", receiver.alert_url)
    receiver.status = 500
    done = typed("test")
    assert isinstance(done.exception, ProcessError)
    assert "1 (json): REFUSED" in done.output
    assert "s3cret" not in done.output


def test_rules_and_what_holds_are_listed(typed):
    assert typed("list").output == "nothing holds\n"
    assert json.loads(typed("list", "--json").stdout) == []
    assert [item["name"] for item in json.loads(typed("rules", "--json").stdout)] == [rule.name for rule in RULES]
    assert "missed_epoch" in typed("rules").output

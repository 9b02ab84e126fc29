import logging

import pytest
from alert_receiver import Receiver

from crucible.errors import SettingsError
from crucible.monitor.alerts import Message
from crucible.monitor.send import Sender, load_sender, urls_file
from crucible.settings import Settings

MESSAGE = Message("k", "alert", "critical", "Missed epoch: btc", "nonce 5 was missed: stale")


@pytest.fixture
def receiver():
    with Receiver() as found:
        yield found


def test_a_message_arrives_as_it_is(receiver):
    assert Sender([receiver.alert_url]).send(MESSAGE) == {"1 (json)": True}
    [post] = receiver.posts
    assert (post["title"], post["message"], post["type"]) == (
        "[crucible] Missed epoch: btc", "nonce 5 was missed: stale", "failure",
    )  # fmt: skip


def test_a_destination_that_fails_keeps_no_other_and_no_secret_is_logged(receiver, caplog):
    caplog.set_level(logging.DEBUG)
    sender = Sender(["json://user:hunter2@127.0.0.1:9/x", receiver.alert_url])
    assert sender.send(MESSAGE) == {"1 (json)": False, "2 (json)": True}
    assert len(receiver.posts) == 1
    assert "alert destination 1 (json) did not take" in caplog.text
    for secret in ("hunter2", "s3cret"):
        assert secret not in caplog.text + repr(sender)


def test_a_url_that_is_none_is_named_by_its_position_only(caplog):
    for url in ("nonsense://user:hunter2@host", "hunter2"):
        with pytest.raises(SettingsError, match="Alert destination 1") as caught:
            Sender([url])
        assert "hunter2" not in str(caught.value) + caplog.text
    with pytest.raises(SettingsError, match="CRUCIBLE_ALERT_PING"):
        Sender([], "file:///etc/passwd")


def test_the_ping_is_called_and_its_failure_told_without_the_url(receiver, caplog):
    sender = Sender([], receiver.ping_url)
    assert sender.ping()
    assert receiver.pings == 1
    receiver.status = 500
    assert not sender.ping()
    assert "not answered (500)" in caplog.text
    assert "s3cret" not in caplog.text
    assert Sender([]).ping()


def test_urls_come_from_the_environment_and_from_a_private_file(tmp_path, receiver):
    settings = Settings.load({"CRUCIBLE_HOME": str(tmp_path), "CRUCIBLE_ALERT_URLS": f"{receiver.alert_url}, json://h"})
    assert load_sender(settings).names == ["1 (json)", "2 (json)"]
    assert "s3cret" not in repr(settings)
    path = urls_file(settings)
    path.parent.mkdir(parents=True)
    path.write_text(f"# mine\n\n{receiver.alert_url}\n")
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_sender(settings)
    path.chmod(0o600)
    assert load_sender(settings).names == ["1 (json)", "2 (json)", "3 (json)"]

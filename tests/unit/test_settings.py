import json

import pytest

from crucible.errors import SettingsError
from crucible.settings import Settings


def test_a_child_process_gets_equal_settings(tmp_path):
    settings = Settings.load({"CRUCIBLE_HOME": str(tmp_path), "CRUCIBLE_EXCHANGE_URL": "http://127.0.0.1:1"})
    assert Settings.load(settings.environment()) == settings


def test_a_running_up_is_found_by_its_endpoints_file_and_the_environment_wins(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "endpoints.json").write_text(json.dumps({"grpc_url": "grpc+http://127.0.0.1:9", "pid": 1}))
    env = {"CRUCIBLE_HOME": str(tmp_path)}
    assert Settings.load(env).grpc_url == "grpc+http://127.0.0.1:9"
    assert Settings.load({**env, "CRUCIBLE_GRPC_URL": "grpc+http://127.0.0.1:8"}).grpc_url == "grpc+http://127.0.0.1:8"


def test_a_damaged_endpoints_file_is_named(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "endpoints.json").write_text("{")
    with pytest.raises(SettingsError, match="delete it"):
        Settings.load({"CRUCIBLE_HOME": str(tmp_path)})


def test_an_unknown_network_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="testnet or mainnet"):
        Settings.load({"CRUCIBLE_HOME": str(tmp_path), "CRUCIBLE_NETWORK": "moonnet"})

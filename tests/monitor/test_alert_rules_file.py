"""The Prometheus rules and the Grafana dashboard use the documented metrics, and are well formed."""

import json
import re

import pytest
import yaml

METRIC = re.compile(r"\bcrucible_[a-z_]+\b")
HISTOGRAM = re.compile(r"_bucket$")


@pytest.fixture(scope="module")
def metrics(pytestconfig):
    text = (pytestconfig.rootpath / "docs" / "reference" / "alerts.md").read_text()
    found = set(METRIC.findall(text))
    assert len(found) == 10
    return found


def named(text):
    return {HISTOGRAM.sub("", name) for name in METRIC.findall(text)}


def test_prometheus_rules(pytestconfig, metrics):
    text = (pytestconfig.rootpath / "deploy" / "prometheus" / "crucible.rules.yml").read_text()
    [group] = yaml.safe_load(text)["groups"]
    seen = set()
    for rule in group["rules"]:
        assert rule["alert"].startswith("Crucible")
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        assert rule["expr"].count("(") == rule["expr"].count(")")
        seen |= named(rule["expr"])
    assert len({rule["alert"] for rule in group["rules"]}) == len(group["rules"])
    assert seen == metrics


def test_grafana_dashboard(pytestconfig, metrics):
    board = json.loads((pytestconfig.rootpath / "deploy" / "grafana" / "crucible.json").read_text())
    assert {item["name"] for item in board["templating"]["list"]} == {"source", "recipe"}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["datasource"]["uid"] == "${source}"
        assert all('recipe=~"$recipe"' in target["expr"] for target in panel["targets"])
    used = named(json.dumps([panel["targets"] for panel in board["panels"]]))
    assert used == metrics

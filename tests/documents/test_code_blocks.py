"""README, tutorial and how-to do what they say: their blocks run, in one home, on the loopback network."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import click
import pytest
from code_blocks import commands, pieces
from worker_world import stop

from crucible.cli import crucible
from crucible.clock import ScaledClock
from crucible.localnet.embedded import EmbeddedLocalnet
from crucible.localnet.run import topic_of
from crucible.practice.embedded import EmbeddedExchange
from crucible.practice.signal import plant
from crucible.practice.simulate import SimulatedMarket
from crucible.process import write_json
from crucible.recipe import find_recipe
from crucible.settings import Settings
from crucible.worker.deployment import journal_path
from crucible.worker.journal import read_journal

NAME = "my_first"
NOW = datetime(2026, 1, 5, tzinfo=UTC)


def pages(root):
    return [root / "README.md", *sorted(root.glob("docs/**/*.md"))]


class Desk:
    """Somebody's copy of the project, with a terminal, beside a market and a network that run."""

    def __init__(self, folder, root):
        self.folder, self.root = folder, root
        shutil.copytree(root / "recipes", folder / "recipes")
        for name in ("dagster.yaml", "workspace.yaml"):
            shutil.copy(root / name, folder / name)
        (folder / "bin").mkdir()
        shim = folder / "bin" / "crucible"
        shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m crucible "$@"\n')
        shim.chmod(0o755)
        self.environ = {
            **{key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"},
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(root), "COLUMNS": "140",
            "EDITOR": "true",
        }  # fmt: skip

    @property
    def settings(self):
        return Settings.load({"CRUCIBLE_HOME": str(self.folder), "CRUCIBLE_RECIPES": str(self.folder / "recipes")})

    def type(self, text):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], cwd=self.folder, env=self.environ, capture_output=True, text=True,
            timeout=200, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout


@contextmanager
def fleet_of(desk):
    process = subprocess.Popen(
        ["crucible", "fleet", "run"], cwd=desk.folder, env=desk.environ, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        yield
    finally:
        stop(process)


@pytest.fixture(scope="module")
def desk(tmp_path_factory, pytestconfig, recipe):
    desk = Desk(tmp_path_factory.mktemp("desk"), pytestconfig.rootpath)
    clock = ScaledClock.starting(NOW, 60.0)
    market = SimulatedMarket(("BTCUSDT",), NOW - timedelta(days=60), 7, plant(0.16, timedelta(minutes=5)))
    spec = topic_of(recipe, "testnet", timedelta(seconds=25))
    with (
        EmbeddedExchange(market, clock) as exchange,
        EmbeddedLocalnet([spec], block_seconds=25.0, clock=clock, exchange_url=exchange.url, competitors=2) as node,
    ):
        # what `crucible up` leaves for other commands
        write_json(
            desk.settings.endpoints_file,
            {
                "clock_text": clock.text(), "exchange_url": exchange.url, "grpc_url": node.grpc_url,
                "websocket_url": node.websocket_url, "faucet_url": node.faucet_url, "api_url": node.api_url,
            },
        )  # fmt: skip
        yield desk


def materialise(desk):
    """What Dagster does after `Materialize all`, without Dagster: the evaluation is there already."""
    from crucible.stages import register_challenger

    register_challenger(desk.settings, find_recipe(desk.settings.recipes, NAME))


def deploy(desk):
    """What the deploy run does when the champion has moved; then the first score is waited for."""
    from crucible.stages import deploy_champion

    settings = desk.settings
    deploy_champion(settings, find_recipe(settings.recipes, NAME), patience=200)
    deadline = time.monotonic() + 120
    while not any(row.state == "scored" for row in read_journal(journal_path(settings, NAME))):
        assert time.monotonic() < deadline, "no submission was scored"
        time.sleep(0.2)


@pytest.mark.processes
@pytest.mark.timeout(900)  # a minute on an idle machine
def test_the_tutorial_does_what_it_says(desk):
    said = {}
    by_hand = {"materialise": materialise, "deploy": deploy}
    with fleet_of(desk):
        for piece in pieces(desk.root / "docs" / "tutorial" / "first-worker.md"):
            if piece.hand:
                by_hand[piece.hand](desk)
            elif piece.language == "sh" and not piece.test:
                first = piece.text.splitlines()[0]
                said[first] = desk.type(piece.text)
                for _ in range(3):
                    # as a person does who looks again a moment later
                    if first != "crucible status" or ("ready v1" in said[first] and "scored" in said[first]):
                        break
                    time.sleep(5)
                    said[first] = desk.type(piece.text)
    text = "\n".join(said.values())
    for words in (
        "my_first version 1 is valid", "0 broken", "77", " new bars", '"gates"', "challenger", "ready v1", "scored",
        "every hash agrees",
    ):  # fmt: skip
        assert words in text, words
    assert "ready v1" in said["crucible status"], said["crucible status"]
    assert "scored" in said["crucible status"], said["crucible status"]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", ["README.md", "docs/how-to/go-live-on-testnet.md", "docs/how-to/back-up-and-move.md"])
def test_a_page_does_what_it_says(desk, page):
    blocks = [piece for piece in pieces(desk.root / page) if piece.language == "sh" and not piece.test]
    assert blocks
    for piece in blocks:
        desk.type(piece.text)


def test_the_blocks_about_features_are_features(desk):
    toml, python = (
        piece
        for piece in pieces(desk.root / "docs" / "how-to" / "add-a-feature.md")
        if piece.language in ("toml", "python")
    )
    text = (desk.root / "recipes" / "btc_usd_5min.toml").read_text().replace('"btc_usd_5min"', '"with_features"')
    text = text.replace("[models]", f'module = "mine"\n\n{toml.text}\n[models]', 1)
    (desk.folder / "recipes" / "with_features.toml").write_text(text)
    (desk.folder / "recipes" / "mine.py").write_text(python.text)
    listed = desk.type("crucible features list with_features --json")
    assert '"gap_to_high"' in listed
    assert '"entropy"' in listed


def test_what_is_not_run_here_names_a_test_that_runs_it(pytestconfig):
    root = pytestconfig.rootpath
    named = {piece.test for page in pages(root) for piece in pieces(page) if piece.test}
    assert named
    for test in named:
        path, _, function = test.partition("::")
        assert re.search(rf"^def {function}\(", (root / path).read_text(), re.M), test
    # a block that is neither run nor named would be one that nobody has tried
    for page in (root / "README.md", root / "docs" / "tutorial" / "first-worker.md"):
        text = page.read_text()
        assert text.count("<!-- runs:") == sum(bool(piece.test) for piece in pieces(page)), page
        assert text.count("```") == 2 * sum(not piece.hand for piece in pieces(page)), page


def test_every_command_in_the_documents_exists_with_its_options(pytestconfig):
    count = 0
    for page in pages(pytestconfig.rootpath):
        for piece in pieces(page):
            for line in commands(piece.text) if piece.language == "sh" else ():
                words = re.split(r"(?<=\s)(?:\||&&|>|;)", line)[0]
                _parse(crucible, shlex.split(words, comments=True), f"{page.name}: crucible{line}")
                count += 1
    assert count > 40


def _parse(command, arguments, where):
    context = click.Context(command, info_name=command.name, resilient_parsing=False)
    try:
        _, rest, _ = command.make_parser(context).parse_args(list(arguments))
    except click.UsageError as error:
        raise AssertionError(f"{where}: {error.message}") from error
    if isinstance(command, click.Group) and rest:
        inner = command.get_command(context, rest[0])
        assert inner is not None, where
        _parse(inner, rest[1:], where)

"""``crucible init``: three questions, and a recipe that `crucible recipe check` accepts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from crucible.recipe_draft import Strength
    from crucible.topics.catalogue import CatalogueTopic

_STRENGTHS = ("quick", "balanced", "thorough")


@click.command()
@click.option("--topic", help="A topic's id on either network, or words that only its name has: 'eth 8h price'.")
@click.option("--strength", type=click.Choice(_STRENGTHS), help="How much history and search.")
@click.option("--wallet", help="Name of the wallet that signs; made when the worker first needs it.")
@click.option("--name", help="Name of the recipe and its file.  [default: made of the topic]")
def init(topic: str | None, strength: Strength | None, wallet: str | None, name: str | None) -> None:
    """Write a new recipe: asks which topic, how strong a search, and which wallet.

    What an option says is not asked. Without a terminal the defaults are taken, and --topic is needed. A recipe that
    is there is never overwritten.

    \b
    Examples:
      crucible init
      crucible init --topic "eth log 8h" --strength quick --wallet eth-usd-8h
    """  # noqa: D301 - \b is click's mark for text that is not to be wrapped
    from crucible.cli import ask
    from crucible.errors import RecipeError
    from crucible.process import write_atomic
    from crucible.recipe_draft import draft_name, draft_recipe
    from crucible.settings import Settings
    from crucible.topics.catalogue import catalogue

    folder = Settings.load().recipes
    asking = ask.may_ask()
    if topic is None and not asking:
        raise RecipeError("Say which topic with --topic (its id, or words of its name); `crucible topics` lists them.")
    chosen = _ask_topic(catalogue()) if topic is None else _one(topic, catalogue())
    name = name or _free_name(folder, draft_name(chosen))
    path = folder / f"{name}.toml"
    if path.exists():
        free = _free_name(folder, name)
        raise RecipeError(f"{path} exists already and is not overwritten; choose another --name, for example {free}.")
    level = strength or (_ask_strength() if asking else "balanced")
    if wallet is None:
        wallet = name.replace("_", "-")
        wallet = _ask_wallet(wallet) if asking else wallet
    _, text = draft_recipe(chosen, name, wallet, level)
    write_atomic(path, text.encode())
    click.echo(f"{path} is written: {chosen.name}, {level}, wallet {wallet}")
    click.echo(f"next: crucible recipe check {name}, crucible bars backfill {name}, crucible evaluate {name}")


def _ask_wallet(usual: str) -> str:
    def fits(text: str) -> str:
        if re.fullmatch(r"[a-z0-9][a-z0-9_-]*", text) is None:
            raise click.UsageError("a wallet's name is of small letters, digits, - and _")
        return text

    found: str = click.prompt("Name of the wallet that signs", default=usual, value_proc=fits)
    return found


def _ask_strength() -> Strength:
    from crucible.recipe_draft import STRENGTHS

    for key, text in STRENGTHS.items():
        click.echo(f"  {key:<10} {text}")
    chosen: Strength = click.prompt("How strong a search?", type=click.Choice(list(STRENGTHS)), default="balanced")
    return chosen


def _ask_topic(topics: Sequence[CatalogueTopic]) -> CatalogueTopic:
    left = topics
    while True:
        for topic in left:
            click.echo(f"  {_ids(topic):<24} {topic.name}" + ("  (playground)" if topic.playground else ""))
        typed = click.prompt("Which topic? An id, or words to narrow the list ('eth 8h')")
        found = _matching(typed, topics)
        if len(found) == 1:
            return found[0]
        if not found:
            click.echo(_nothing(typed, topics))
        left = found or topics


def _one(text: str, topics: Sequence[CatalogueTopic]) -> CatalogueTopic:
    from crucible.errors import RecipeError

    found = _matching(text, topics)
    if not found:
        raise RecipeError(_nothing(text, topics))
    if len(found) > 1:
        names = "; ".join(f"{_ids(topic)}: {topic.name}" for topic in found)
        raise RecipeError(f"--topic {text!r} means {len(found)} topics; say the id of one ({names}).")
    return found[0]


def _matching(text: str, topics: Sequence[CatalogueTopic]) -> list[CatalogueTopic]:
    """Return the topics with that id, or that all the words fit."""
    if text.strip().isdigit():
        return [topic for topic in topics if int(text) in (topic.testnet, topic.mainnet)]
    words = text.lower().replace("-", " ").replace("_", " ").split()
    told = {topic: _words(topic) for topic in topics}
    every = [topic for topic in topics if all(word in told[topic] for word in words)]
    exact = [topic for topic in every if set(words) <= set(told[topic].split())]
    return exact or every


def _words(topic: CatalogueTopic) -> str:
    """Return everything that a person may call a topic, in small letters."""
    from crucible.duration import format_duration

    # what stands in brackets is how often it is asked, not how far ahead
    names = re.sub(r"\(.*?\)", "", f"{topic.mainnet_name or ''} {topic.testnet_name or ''}")
    joined = re.sub(r"(\d+) (min|day)", r"\1\2", names, flags=re.I)
    kind = "playground" if topic.playground else ""
    told = f"{names} {joined} {topic.asset} {topic.target} {format_duration(topic.horizon)} {kind}".lower()
    return f"{re.sub('[-_/]', ' ', told)} {topic.asset.lower()}"


def _nothing(text: str, topics: Sequence[CatalogueTopic]) -> str:
    words = sorted(
        {word for topic in topics for word in f"{topic.name} {topic.asset}".lower().replace("/", " ").split()}
    )
    near = [difflib.get_close_matches(word, words, n=1, cutoff=0.6) for word in text.lower().split()]
    said = " ".join(found[0] for found in near if found)
    hint = f"did you mean {said!r}?" if said and said != text.lower() else "`crucible topics` lists them."
    return f"No topic is like {text!r}; {hint}"


def _ids(topic: CatalogueTopic) -> str:
    pairs = (("testnet", topic.testnet), ("mainnet", topic.mainnet))
    return ", ".join(f"{network} {id_}" for network, id_ in pairs if id_ is not None)


def _free_name(folder: Path, name: str) -> str:
    number, free = 2, name
    while (folder / f"{free}.toml").exists():
        free, number = f"{name}_{number}", number + 1
    return free

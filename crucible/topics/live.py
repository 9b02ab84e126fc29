"""The network's own list of topics, from its topic-list API."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import requests

from crucible.errors import SourceError
from crucible.topics.catalogue import Network, find_topic

_PAGES = 50
_KINDS = (("log", "log_return"), ("price", "price"), ("volatility", "volatility"))


@dataclass(frozen=True)
class LiveTopic:
    """One topic as the network lists it.

    Attributes
    ----------
    id, name : int, str
        As on the chain.
    asset, target, horizon : str
        From the catalogue where it knows the id under that name, else read off the name; empty where that says nothing.
    epoch_length : int
        Blocks from one nonce to the next; 0 if the API does not say.
    loss : str
        The loss method; empty if the API does not say.
    workers : int
        How many are registered.
    active : bool
        Whether it asks for inferences at present.
    """

    id: int
    name: str
    asset: str
    target: str
    horizon: str
    epoch_length: int
    loss: str
    workers: int
    active: bool


def live_topics(
    api_url: str, network: Network, chain_id: str, *, key: str = "", deadline: float = 10.0
) -> list[LiveTopic]:
    """Ask the API at ``api_url`` for every topic of the chain, by id.

    Parameters
    ----------
    api_url : str
        ``https://host/v2``.
    network, chain_id : str
        Which network; its chain id is part of the request.
    key : str
        Sent as ``x-api-key`` where there is one.
    deadline : float
        Seconds for each page.

    Raises
    ------
    SourceError
        If it cannot be reached, refuses, or answers nonsense.
    """
    url = f"{api_url.rstrip('/')}/allora/{chain_id}/topics"
    found: dict[int, LiveTopic] = {}
    token: str | None = None
    with requests.Session() as session:
        session.trust_env = False  # no proxy of the environment gets between, as for every other source
        for _ in range(_PAGES):
            rows, token = _page(session, url, key, token, deadline)
            for row in rows:
                topic = _topic(row, network, url)
                found[topic.id] = topic
            if not token:
                return [found[id_] for id_ in sorted(found)]
    raise SourceError(f"The topic list at {url} does not end after {_PAGES} pages.")


def _page(
    session: requests.Session, url: str, key: str, token: str | None, deadline: float
) -> tuple[list[dict[str, Any]], str | None]:
    try:
        answer = session.get(
            url, params={"continuation_token": token} if token else None, headers={"x-api-key": key} if key else None,
            timeout=deadline,
        )  # fmt: skip
        if answer.status_code != 200:
            raise SourceError(f"The topic list at {url} refused: HTTP {answer.status_code}.")
        body = answer.json()
        if not body.get("status", True):
            raise SourceError(f"The topic list at {url} refused: {body.get('apiResponseMessage', 'no reason given')}.")
        data = body["data"]
        return list(data["topics"]), data.get("continuation_token")
    except requests.RequestException as error:
        if isinstance(error, ValueError):  # requests' JSON error is one
            raise SourceError(f"The topic list at {url} answered something that is not JSON.") from error
        raise SourceError(f"The topic list at {url} cannot be reached ({type(error).__name__}).") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise SourceError(f"The topic list at {url} has another form than expected ({error!r}).") from error


def _topic(row: dict[str, Any], network: Network, url: str) -> LiveTopic:
    try:
        id_, name = int(row["topic_id"]), str(row.get("topic_name") or "")
        asset, target, horizon = read_name(name)
        known = find_topic(network, id_)
        if known is not None:
            from crucible.duration import format_duration

            asset, target, horizon = known.asset, known.target, format_duration(known.horizon)
        return LiveTopic(
            id_, name, asset, target, horizon, int(row.get("epoch_length") or 0), str(row.get("loss_method") or ""),
            int(row.get("worker_count") or 0), bool(row.get("is_active", True)),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(f"The topic list at {url} has a row of another form than expected ({error!r}).") from error


def read_name(name: str) -> tuple[str, str, str]:
    """Return asset, kind of target and horizon as far as a topic's name tells them; what it does not tell is empty.

    Examples
    --------
    >>> read_name("8h SOL/USD Log-Return Prediction")
    ('SOL/USD', 'log_return', '8h')
    """
    asset = re.search(r"\b[A-Z0-9]{2,10}/[A-Z]{3,5}\b", name)
    target = next((kind for word, kind in _KINDS if re.search(rf"\b{word}", name, re.I)), "")
    span = re.search(r"\b(\d+) ?(min(?:ute)?s?|m|hours?|h|days?|d)\b(?! updates)", name, re.I)
    horizon = f"{span[1]}{span[2][0].lower()}" if span else ""
    return (asset[0] if asset else "", target, "1d" if horizon == "24h" else horizon)

"""The emissions module's queries: which method answers with what. Every other one answers UNIMPLEMENTED, knowingly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allora_sdk.rpc_client.protos.emissions import v10 as e
from grpclib import GRPCError, Status

from crucible.localnet.core import Core
from crucible.localnet.query_scores import ScoreQueries
from crucible.localnet.query_stakes import StakeQueries
from crucible.localnet.query_topics import TopicQueries
from crucible.localnet.query_windows import WindowQueries

Method = tuple[Callable[[Any], Any], type, type]


def emissions_methods(core: Core) -> dict[str, Method]:
    """Return the query methods by path."""
    named = named_queries(core)
    # every other query is known and says so: grpclib's own answer to an unknown path is not understood by its client
    every = {name: named.get(name, _unimplemented(name)) for name in _query_names()}
    return {
        f"/emissions.v10.QueryService/{name}": (answer, getattr(e, f"{name}Request"), getattr(e, f"{name}Response"))
        for name, answer in every.items()
    }


def named_queries(core: Core) -> dict[str, Callable[[Any], Any]]:
    """Return the queries that are answered, by name."""
    named: dict[str, Callable[[Any], Any]] = {}
    for queries in (TopicQueries(core), WindowQueries(core), ScoreQueries(core), StakeQueries(core)):
        named |= queries.methods()
    return named


def _query_names() -> list[str]:
    methods = [name for name in vars(e.QueryServiceStub) if not name.startswith("_")]
    return ["".join(part.title() for part in method.split("_")) for method in methods]


def _unimplemented(name: str) -> Callable[[Any], Any]:
    def answer(_: Any) -> Any:
        raise GRPCError(Status.UNIMPLEMENTED, f"localnet does not answer {name}")

    return answer

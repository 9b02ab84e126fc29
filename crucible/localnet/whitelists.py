"""Who may do what: the network's lists and switches, and each topic's two lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from allora_sdk.rpc_client.protos.emissions import v10 as e
from betterproto2 import Message

from crucible.localnet.abci import emissions, plain, sdk
from crucible.localnet.keys import is_address
from crucible.localnet.topic import Topic

if TYPE_CHECKING:
    from crucible.localnet.context import Context

NOT_ADMIN = 28
MOST_ADDRESSES = 2_000
"""Of one bulk message."""

LISTS = ("actors", "workers", "reputers", "admins", "creators", "whitelist_admins")
SWITCHES = ("actors_on", "workers_on", "reputers_on", "creators_on")


@dataclass
class Whitelists:
    """The network's lists. A switch that is off lets everybody through.

    ``creators_on`` is on where the chain starts; on localnet everybody may make a topic until it is switched on.
    """

    actors: set[str] = field(default_factory=set)
    workers: set[str] = field(default_factory=set)
    reputers: set[str] = field(default_factory=set)
    admins: set[str] = field(default_factory=set)
    creators: set[str] = field(default_factory=set)
    whitelist_admins: set[str] = field(default_factory=set)
    actors_on: bool = True
    workers_on: bool = True
    reputers_on: bool = True
    creators_on: bool = False

    def copy(self) -> Whitelists:
        """Return an independent copy."""
        copies: dict[str, Any] = {name: set(getattr(self, name)) for name in LISTS}
        return replace(self, **copies)

    def may_work(self, topic: Topic, address: str) -> bool:
        """Return whether ``address`` may submit worker payloads to ``topic``."""
        if not topic.worker_list_on or address in topic.worker_list:
            return True
        return not self.workers_on or address in self.workers or self._is_actor(address)

    def may_repute(self, topic: Topic, address: str) -> bool:
        """Return whether ``address`` may submit reputer payloads to ``topic``."""
        if not topic.reputer_list_on or address in topic.reputer_list:
            return True
        return not self.reputers_on or address in self.reputers or self._is_actor(address)

    def may_create(self, address: str) -> bool:
        """Return whether ``address`` may make topics."""
        return not self.creators_on or address in self.creators or self._is_actor(address)

    def may_change(self, topic: Topic, address: str) -> bool:
        """Return whether ``address`` may change the lists of ``topic``."""
        return address == topic.spec.creator or self.is_admin(address)

    def is_admin(self, address: str) -> bool:
        """Return whether ``address`` may change the network's lists."""
        return address in self.admins or address in self.whitelist_admins

    def _is_actor(self, address: str) -> bool:
        return not self.actors_on or address in self.actors

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**{name: sorted(getattr(self, name)) for name in LISTS}, **{n: getattr(self, n) for n in SWITCHES}}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the lists that :meth:`to_json` described."""
        return cls(**{**values, **{name: set(values[name]) for name in LISTS}})


def refuse_foreign(allowed: bool, address: str) -> None:
    """Raise the chain's refusal of somebody who may not change lists."""
    if not allowed:
        raise emissions(NOT_ADMIN, f"{address}: not whitelist admin")


def change_topic_list(context: Context, message: Any) -> None:
    """Handle every message that changes a topic's list or switches it on or off; its class name says which."""
    name = type(message).__name__.removesuffix("Request")
    topic = context.topic(message.topic_id, 23)
    refuse_foreign(context.whitelists.may_change(topic, message.sender), message.sender)
    kind = "worker" if "Worker" in name else "reputer"
    attribute = f"{kind}_list"
    if name.startswith(("Enable", "Disable")):
        on = name.startswith("Enable")
        setattr(topic, f"{attribute}_on", on)
        event = getattr(e, f"EventTopic{kind.title()}Whitelist{'Enabled' if on else 'Disabled'}")
        context.emit(event(topic_id=message.topic_id))
        return
    _change(getattr(topic, attribute), name, _addresses(message))
    _announce(context.emit, f"Topic{kind.title()}Whitelist", name, message, topic_id=message.topic_id)


def change_global_list(context: Context, message: Any) -> None:
    """Handle every message that changes one of the network's lists; its class name says which."""
    name = type(message).__name__.removesuffix("Request")
    lists = context.whitelists
    refuse_foreign(lists.is_admin(message.sender), message.sender)
    for words, attribute in _GLOBAL:
        if name.endswith(words):
            _change(getattr(lists, attribute), name, _addresses(message))
            _announce(context.emit, words, name, message)
            return
    raise plain(f"{name} changes no list")


_GLOBAL = (
    ("GlobalWorkerWhitelist", "workers"),
    ("GlobalReputerWhitelist", "reputers"),
    ("GlobalAdminWhitelist", "admins"),
    ("TopicCreatorWhitelist", "creators"),
    ("GlobalWhitelist", "actors"),
    ("WhitelistAdmin", "whitelist_admins"),
)


def _addresses(message: Any) -> list[str]:
    found = list(message.addresses) if hasattr(message, "addresses") else [message.address]
    if not found or len(found) > MOST_ADDRESSES:
        raise emissions(63, f"{len(found)} addresses: empty array, or more than {MOST_ADDRESSES}")
    for address in found:
        if not is_address(address):
            raise sdk(7, f"{address[:80]}: invalid address")
    return found


def _change(listed: set[str], name: str, addresses: list[str]) -> None:
    if "Remove" in name:
        listed.difference_update(addresses)
    else:
        listed.update(addresses)


def _announce(emit: Callable[[Message], None], words: str, name: str, message: Any, **more: Any) -> None:
    done = "Removed" if "Remove" in name else "Added"
    event = getattr(e, f"Event{words}{'Bulk' if 'Bulk' in name else ''}{done}", None)
    if event is None:
        return  # WhitelistAdmin's event names its address otherwise
    known = {"addresses": list(message.addresses)} if "Bulk" in name else {"address": message.address}
    emit(event(**known, **more))


def topic_messages() -> list[type]:
    """Return the message types of :func:`change_topic_list`."""
    names = [f"{act}Topic{kind}Whitelist" for kind in ("Worker", "Reputer") for act in (
        "Enable", "Disable", "AddTo", "RemoveFrom", "BulkAddTo", "BulkRemoveFrom")]  # fmt: skip
    return [getattr(e, f"{name}Request") for name in names]


def global_messages() -> list[type]:
    """Return the message types of :func:`change_global_list`."""
    names = [f"{act}{words}" for words, _ in _GLOBAL for act in ("AddTo", "RemoveFrom", "BulkAddTo", "BulkRemoveFrom")]
    return [getattr(e, f"{name}Request") for name in names if hasattr(e, f"{name}Request")]

"""The tables of ``docs/reference/localnet.md``, made from the code: ``python -m crucible.localnet.reference FILE``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from crucible.localnet.core import Core
from crucible.localnet.emissions import emissions_methods, named_queries
from crucible.localnet.fault_table import FAULTS
from crucible.localnet.messages import HANDLERS
from crucible.localnet.query_chain import ChainQueries


def fault_rows() -> str:
    """Return the table of faults."""
    rows = ["| fault | part | what happens | takes |", "|---|---|---|---|"]
    for kind in FAULTS.values():
        takes = ["`--count`"] * kind.by_count + ["`--for`"] + ["`--topic`"] * kind.by_topic
        if kind.default is not None:
            takes.append(f"`--value` ({kind.value}, {kind.default:g})")
        rows.append(f"| `{kind.name}` | {kind.part} | {kind.text} | {', '.join(takes)} |")
    return "\n".join(rows)


def message_rows() -> str:
    """Return the table of messages and the gas that each takes."""
    rows = ["| message | gas |", "|---|---|"]
    return "\n".join([*rows, *(f"| `{url}` | {handler.gas:,} |" for url, handler in sorted(HANDLERS.items()))])


def query_rows() -> str:
    """Return the lists of queries, answered and knowingly not."""
    core = Core("none")
    answered = set(named_queries(core))
    every = {path.rpartition("/")[2] for path in emissions_methods(core)}
    chain = [f"`{path[1:]}`" for path in ChainQueries(core).methods()]
    parts = (
        ("Of `emissions.v10.QueryService`, answered", [f"`{name}`" for name in sorted(answered)]),
        ("Of the same service, UNIMPLEMENTED", [f"`{name}`" for name in sorted(every - answered)]),
        ("Of the chain itself", chain),
    )
    return "\n\n".join(f"{title}: {', '.join(names)}." for title, names in parts)


def filled(text: str) -> str:
    """Return the page ``text`` with the tables between its markers made anew."""
    for name, made in (("faults", fault_rows()), ("messages", message_rows()), ("queries", query_rows())):
        marked = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", re.DOTALL)
        text = marked.sub(lambda found, made=made: found[1] + made + found[2], text)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(filled(page.read_text()))

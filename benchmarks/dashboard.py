"""The dashboard's pages over 50 workers with 1,000 epochs each: seconds and bytes; prints JSON.

The journals are written by the real Journal. A page is asked of the application itself, as a server would, first
(no journal was ever read) and again, each time after every journal has changed. ``bar`` is what each must keep.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from asgi_calls import ask
from web_world import make_home, report

from crucible.settings import Settings
from crucible.web.access import Access
from crucible.web.app import create_app
from crucible.worker.deployment import journal_path

BAR_SECONDS, BAR_BYTES = 0.150, 100_000


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON (it always does)")
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crucible-dashboard-") as folder:
        settings = make_home(Path(folder), options.workers, options.epochs)
        for recipe in settings.recipes.glob("*.toml"):
            report(settings, recipe.stem)
        found = asyncio.run(_measure(settings, options.repeats))
    print(
        json.dumps({"workers": options.workers, "epochs": options.epochs, "cores": os.cpu_count(), **found}, indent=2)
    )


async def _measure(settings: Settings, repeats: int) -> dict[str, Any]:
    app = create_app(lambda: settings, Access())
    await ask(app, "/login")  # imports and the templates' compilation are the start's, not a page's
    pages: dict[str, Any] = {}
    for name, path in (("fleet", "/"), ("worker", "/workers/worker_03"), ("nonce", "/workers/worker_03/nonces/1012")):
        started = time.perf_counter()
        answer = await ask(app, path)
        cold = time.perf_counter() - started
        took, used = [], []
        for _ in range(repeats):
            for recipe in settings.recipes.glob("*.toml"):
                os.utime(journal_path(settings, recipe.stem))
            await asyncio.sleep(0.06)
            started, before = time.perf_counter(), time.process_time()
            answer = await ask(app, path)
            took.append(time.perf_counter() - started)
            used.append(time.process_time() - before)
        assert answer.status == 200, answer.body[:500]
        started = time.perf_counter()
        await ask(app, path)
        unchanged = time.perf_counter() - started
        pages[name] = {
            "first_seconds": round(cold, 4),
            "unchanged_seconds": round(unchanged, 4),
            "seconds": round(statistics.median(took), 4),
            "cpu_seconds": round(statistics.median(used), 4),  # on a shared machine the other is the neighbours' too
            "bytes": len(answer.body),
            "bytes_gzipped": len(gzip.compress(answer.body)),
            "within_bar": statistics.median(took) <= BAR_SECONDS and len(answer.body) <= BAR_BYTES,
        }
    return {"bar": {"seconds": BAR_SECONDS, "bytes": BAR_BYTES}, "pages": pages}


if __name__ == "__main__":
    main()

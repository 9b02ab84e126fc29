"""The process that predicts: bundles, live bars and features, asked over a pipe by the process that signs.

It holds no key and opens no connection to the chain. Requests and answers are one JSON object a line; each request is
served by a thread of its own, so that a slow one keeps no other waiting. It ends when its parent does: the pipe closes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from crucible.data_settings import DataSection
from crucible.errors import BundleError, CrucibleError
from crucible.market.feed import HASTY, LiveFeed
from crucible.market.update import open_sources
from crucible.models.bundle import load_bundle
from crucible.settings import Settings
from crucible.worker.log import log_to_stderr
from crucible.worker.predictor import Predictor, stored_warmup
from crucible.worker.reasons import Reason, reason_of

_LOG = logging.getLogger(__name__)
_UNUSED = ("pandas", "sklearn", "matplotlib", "dask")
_KEPT = 3  # bundles per recipe: champion, previous, and one that is being swapped in


class _Lean(MetaPathFinder):
    """Finds no data frames: LightGBM takes them along where they are installed, 90 MB that nobody needs.

    CatBoost cannot be imported without pandas, so where it is used they are found after all.
    """

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname in _UNUSED and not (fullname == "pandas" and "catboost" in sys.modules):
            raise ModuleNotFoundError(f"{fullname} is not used here", name=fullname)


class ModelProcess:
    """Serves the requests ``load``, ``predict``, ``losses`` and ``ping``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._feeds: dict[tuple[object, ...], LiveFeed] = {}
        self._predictors: dict[str, dict[str, Predictor]] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to one request; a failure is an answer too, with its reason's code."""
        try:
            match request["do"]:
                case "ping":
                    return {}
                case "load":
                    return self._load(request)
                case "predict":
                    return self._predict(request)
                case "losses":
                    return self._losses(request)
                case other:
                    raise BundleError(f"The model process cannot {other}.")
        except CrucibleError as error:
            return {"error": str(error), "reason": reason_of(error)}
        except Exception as error:  # noqa: BLE001 -- a model or a library that fails must cost one attempt, not the process
            _LOG.exception("%s failed", request.get("do"))
            words = f"The prediction failed with {type(error).__name__}: {error}"
            return {"error": words, "reason": Reason.MODEL_FAILED}

    def _load(self, request: dict[str, Any]) -> dict[str, Any]:
        recipe_name, digest = request["recipe"], request["digest"]
        bundle = load_bundle(Path(request["path"]), digest)  # verified at every load, also of one that is known
        recipe = bundle.manifest.recipe
        stated, canary = recipe.topic_id(self._settings.network), recipe.deploy.canary
        tried = canary is not None and self._settings.network == "testnet" and canary.topic == request["topic_id"]
        if stated != request["topic_id"] and not tried:
            raise BundleError(f"Bundle {digest[:12]} answers topic {stated}, not topic {request['topic_id']}.")
        with self._lock:
            known = self._predictors.setdefault(recipe_name, {})
            fresh = digest not in known
            known[digest] = Predictor(bundle, [self._feed(item, stored_warmup(recipe)) for item in recipe.data.members])
            for old in [name for name in known if name != digest][: max(len(known) - _KEPT, 0)]:
                del known[old]
        if fresh:  # the first prediction compiles the features and fetches the bars: not in a window
            threading.Thread(target=self._warm, args=(known[digest],), daemon=True).start()
        return {
            "cadence": recipe.topic.cadence.total_seconds(),
            "target": recipe.topic.target,
            "loss": recipe.topic.loss,
            "fallback": list(recipe.deploy.fallback),
            "distance": recipe.deploy.distance,
            "trained": bundle.manifest.training.last,
        }

    def _warm(self, predictor: Predictor) -> None:
        try:
            predictor.predict(self._settings.clock.now())
        except CrucibleError as error:
            _LOG.info("not warm yet: %s", error)

    def _predict(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            predictor = self._predictors.get(request["recipe"], {}).get(request["digest"])
        if predictor is None:
            raise BundleError(f"Bundle {request['digest'][:12]} is not loaded.")
        found = predictor.predict(self._settings.clock.now(), request["rung"])
        return {"value": found.value, "time": found.time.isoformat(), "close": found.close, "scale": found.scale}

    def _losses(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            predictor = next(iter(self._predictors.get(request["recipe"], {}).values()), None)
        if predictor is None:
            raise BundleError(f"No bundle of {request['recipe']} is loaded.")
        at = datetime.fromisoformat(request["at"])
        return {"losses": predictor.losses(at, request["values"], request["method"], self._settings.clock.now())}

    def _feed(self, data: DataSection, capacity: int) -> LiveFeed:
        """Return the live bars of ``data``; bundles that read the same bars share one feed."""
        key = data.sources, data.symbol, data.stored
        if key not in self._feeds:
            settings = self._settings
            feed = LiveFeed(
                open_sources(data.sources, data.symbol, settings, HASTY), data.symbol, data.stored,
                capacity=capacity, clock=settings.clock, stream_url=settings.exchange_url,
            )  # fmt: skip
            feed.start()
            self._feeds[key] = feed
        return self._feeds[key]


def main() -> None:
    """Serve until the pipe closes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent decides; Ctrl-C reaches the whole group
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    sys.meta_path.insert(0, _Lean())
    settings = Settings.load()
    log_to_stderr(settings.clock)
    process, lock = ModelProcess(settings), threading.Lock()

    def serve(request: dict[str, Any]) -> None:
        line = json.dumps({"id": request["id"], **process.answer(request)})
        # the parent that asked has gone: there is nobody to tell
        with lock, contextlib.suppress(BrokenPipeError):
            answers.write(line + "\n")
            answers.flush()

    for line in sys.stdin:
        threading.Thread(target=serve, args=(json.loads(line),), daemon=True).start()
    os._exit(0)  # feeds and libraries have threads that need not be waited for


if __name__ == "__main__":
    main()

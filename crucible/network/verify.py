"""Vector files run against the mechanism. The only module of this package that reads files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crucible.errors import CrucibleError, MechanismError
from crucible.network.cases import FUNCTIONS
from crucible.network.cases.reading import parameters, plain
from crucible.network.replay import replayed
from crucible.network.simulator_table import SimulatorTable

SMALLEST = 1e-12  # under a relative tolerance, numbers this close are equal: many expected values are 0


@dataclass
class Outcome:
    """How the cases of one function of one file went; ``ties`` are differences that the files themselves excuse."""

    passed: int = 0
    values: int = 0
    ties: int = 0
    undetermined: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass
class FileReport:
    """How one file went: ``outcomes`` by function, or why it holds no cases."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    note: str = ""

    def of(self, function: str) -> Outcome:
        """Return the outcome of ``function``, made on first use."""
        return self.outcomes.setdefault(function, Outcome())


def verify(folder: Path) -> dict[str, FileReport]:
    """Run every vector file in ``folder`` and return a report by file name.

    Raises
    ------
    MechanismError
        The folder is missing, holds no JSON file, or one that is not JSON.
    """
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not files:
        raise MechanismError(f"{folder} holds no .json files; name the folder of the vectors")
    return {path.name: verify_file(path) for path in files}


def verify_file(path: Path) -> FileReport:
    """Run one vector file."""
    content = _read(path)
    report = FileReport()
    if isinstance(content, list) and all(isinstance(case, dict) and "function" in case for case in content):
        for case in content:
            _run_case(case, path.parent, report.of(case["function"]))
    elif isinstance(content, dict) and "scenarios" in content:
        tolerance = content.get("tolerance", {"rel": 1e-7})
        for scenario in content["scenarios"]:
            _run_scenario(scenario, tolerance, report.of(f"scenario {scenario['name']}"))
    elif isinstance(content, dict) and {"headers", "epochs"} <= set(content):
        report.note = "a table that cases in other files refer to"
    else:
        report.note = "no cases of the mechanism"
    return report


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise MechanismError(f"{path} cannot be read as JSON: {error}") from None


def _run_case(case: Mapping[str, Any], folder: Path, outcome: Outcome) -> None:
    name, title = case["function"], case.get("id", "?")
    if name == "rolling_replay":
        _run_replay(case, folder, outcome)
        return
    function = FUNCTIONS.get(name)
    if function is None:
        outcome.failures.append(f"{title}: the function {name!r} is not supported")
        return
    expected = plain(case["expected"])
    try:
        found = function(plain(case["inputs"]), plain(case["params"]), expected)
        problems = list(_differences(case["kind"], expected, found, case["tolerance"], outcome))
    except CrucibleError as error:
        problems = [] if case["kind"] == "error" else [str(error)]
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        # a file from elsewhere may lack what a function needs; the other cases are still worth running
        problems = [f"{type(error).__name__}: {error}"]
    _settle(outcome, title, problems)


def _settle(outcome: Outcome, title: str, problems: list[str]) -> None:
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        outcome.failures.append(f"{title}: {problems[0]}{more}")
    else:
        outcome.passed += 1


def _differences(kind: str, expected: Any, found: Any, tolerance: Mapping[str, Any], outcome: Outcome) -> Iterator[str]:
    if kind == "error":
        yield f"computed {found} where the chain fails"
    elif kind == "property":
        outcome.values += 1
        if not _holds(expected, found):
            yield f"{expected} does not hold for {found}"
    elif kind == "value":
        yield from compared(expected, found, tolerance, outcome)
    else:
        yield f"cases of kind {kind!r} are not supported"


def _holds(expected: Mapping[str, Any], found: Any) -> bool:
    if "bool" in expected:
        return bool(found == expected["bool"])
    if "not_within" in expected:
        bound = expected["not_within"]
        return abs(float(found) - bound["value"]) > bound["abs"]
    if isinstance(found, bool | np.bool_):
        return bool(found)
    relations = expected.get("relations", [expected["relation"]] if "relation" in expected else None)
    if relations is None:
        return bool(found == expected)
    return all(_relation(text, found) for text in relations)


def _relation(text: str, values: Mapping[str, float]) -> bool:
    match = re.fullmatch(r"\s*(\S+?)\s*(<|>|==)\s*(\S+?)\s*", text)
    if match is None or match[1] not in values or match[3] not in values:
        return False
    left, right = values[match[1]], values[match[3]]
    return {"<": left < right, ">": left > right, "==": left == right}[match[2]]


def compared(
    expected: Any, found: Any, tolerance: Mapping[str, Any], outcome: Outcome, path: str = ""
) -> Iterator[str]:
    """Yield one sentence per number of ``found`` that is not within ``tolerance`` of ``expected``, or is missing."""
    if isinstance(expected, dict):
        if not isinstance(found, Mapping):
            yield f"{path or 'value'} is {found}, expected {expected}"
            return
        for key in sorted({*expected, *found}):
            inner = f"{path}.{key}" if path else key
            if key not in expected or key not in found:
                side = "not expected" if key in found else "missing"
                yield f"{inner} is {side}"
            else:
                yield from compared(expected[key], found[key], tolerance, outcome, inner)
    elif isinstance(expected, list):
        if len(expected) != len(found):
            yield f"{path or 'value'} has {len(found)} numbers, expected {len(expected)}"
            return
        for place, pair in enumerate(zip(expected, found, strict=True)):
            yield from compared(*pair, tolerance, outcome, f"{path}[{place}]")
    elif isinstance(expected, str | bool):
        outcome.values += 1
        if found != expected:
            yield f"{path or 'value'} is {found!r}, expected {expected!r}"
    else:
        outcome.values += 1
        if not _close(expected, float(found), tolerance):
            yield f"{path or 'value'} is {float(found)!r}, expected {expected!r}"


def _close(expected: float, found: float, tolerance: Mapping[str, Any]) -> bool:
    if math.isnan(expected) or math.isnan(found):
        return math.isnan(expected) and math.isnan(found)
    if "abs" in tolerance:
        return abs(found - expected) <= tolerance["abs"]
    if "rel" in tolerance:
        return abs(found - expected) <= max(tolerance["rel"] * abs(expected), SMALLEST)
    return found == expected


def _run_scenario(scenario: Mapping[str, Any], tolerance: Mapping[str, Any], outcome: Outcome) -> None:
    try:
        for place, (epoch, found) in enumerate(replayed(scenario)):
            problems: list[str] = []
            recorded = plain(epoch["expected"])
            if not recorded.get("reward_error") and found["reward_error"]():
                problems.append(f"nobody is paid: {found['reward_error']()}")
            for key, expected in recorded.items():
                if key not in found:
                    problems.append(f"{key} is not supported")
                elif key == "reward_error":
                    problems += [] if found[key]() else ["rewards were paid where the chain fails"]
                else:
                    here = list(compared(expected, found[key](), tolerance, outcome, key))
                    if here and key == "confidence_interval" and _tie(recorded):
                        outcome.ties += 1
                    else:
                        problems += here
            _settle(outcome, f"epoch {place}", problems)
    except CrucibleError as error:
        outcome.failures.append(f"stopped: {error}")


def _tie(recorded: Mapping[str, Any]) -> bool:
    inferred = recorded["network_inference"]
    values = [*inferred["inferer"].values(), *inferred["forecaster"].values()]
    return len(set(values)) < len(values)


def _run_replay(case: Mapping[str, Any], folder: Path, outcome: Outcome) -> None:
    content = _read(folder / case["inputs"]["data"])
    table = SimulatorTable(content["headers"], content["epochs"])
    given: dict[str, Any] = plain(case["params"])
    renamed: dict[str, str] = {"beta": "beta_entropy", "alpha_task": "task_reward_alpha", "gd_iterations": "iterations",
               "max_samples": "max_samples_to_scale_scores"}  # fmt: skip
    values: dict[str, Any] = {renamed.get(name, name): value for name, value in given.items() if name != "c_reward"}
    values["max_samples_to_scale_scores"] = int(values["max_samples_to_scale_scores"])
    values |= {"c_reward_inference": given["c_reward"], "c_reward_forecast": given["c_reward"]}
    params = parameters({**values, "implied_one_out_losses": True})
    for epoch, row, found in table.replayed(case["inputs"]["start_epoch"], case["inputs"]["epochs"], params):
        problems: list[str] = []
        for name, expected in row.items():
            if table.given(name):
                continue
            if name in found:
                problems += compared(expected, found[name], case["tolerance"], outcome, name)
            else:
                outcome.undetermined += 1
        _settle(outcome, f"epoch {epoch}", problems)

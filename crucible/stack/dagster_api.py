"""The few GraphQL calls with which the demo launches a Dagster run and watches it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from crucible.errors import ProcessError

_LOCATION = """
query {
  workspaceOrError {
    ... on Workspace {
      locationEntries { loadStatus locationOrLoadError { __typename ... on PythonError { message } } }
    }
  }
}
"""

_LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""

_RUN = """
query ($id: ID!) {
  runOrError(runId: $id) {
    ... on Run { status stepStats { stepKey status startTime endTime } }
  }
}
"""

_FAILURE = """
query ($id: ID!) {
  logsForRun(runId: $id) {
    ... on EventConnection {
      events { ... on ExecutionStepFailureEvent { stepKey error { message causes { message } } } }
    }
  }
}
"""

_ANSWER_SECONDS = 60.0  # a launch takes seconds on a busy machine, and must not be sent twice


@dataclass(frozen=True)
class Step:
    """One step of a run: name, status (``IN_PROGRESS``, ``SUCCESS``, ``FAILURE``) and seconds taken so far."""

    name: str
    status: str
    seconds: float


class DagsterApi:
    """Talks to the Dagster webserver at ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url

    def wait_loaded(self, timeout: float) -> Iterator[None]:
        """Yield every half second until the code location is loaded.

        Raises
        ------
        ProcessError
            If it fails to load, or is not loaded after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                entries = self._post(_LOCATION, {}, 10.0)["workspaceOrError"].get("locationEntries", [])
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                entries = []
            for entry in entries:
                found = entry["locationOrLoadError"] or {}
                if found.get("__typename") == "PythonError":
                    raise ProcessError(f"Dagster cannot load the definitions: {found['message'].strip()}")
                if entry["loadStatus"] == "LOADED":
                    return
            yield
            time.sleep(0.5)
        raise ProcessError(f"Dagster at {self.url} was not ready after {timeout:.0f} s; see data/logs/dagster.log.")

    def launch(self, job: str, partition: str) -> str:
        """Launch ``job`` for ``partition`` and return the run id.

        Raises
        ------
        ProcessError
            If Dagster refuses.
        """
        selector = {"pipelineName": job, "repositoryLocationName": "crucible", "repositoryName": "__repository__"}
        tags = [{"key": "dagster/partition", "value": partition}]
        params = {"selector": selector, "runConfigData": {}, "executionMetadata": {"tags": tags}}
        answer = self._post(_LAUNCH, {"params": params})["launchPipelineExecution"]
        if answer["__typename"] != "LaunchRunSuccess":
            raise ProcessError(f"Dagster did not launch {job}: {json.dumps(answer)}")
        run_id: str = answer["run"]["runId"]
        return run_id

    def status(self, run_id: str) -> tuple[str, list[Step]]:
        """Return the run's status and its steps so far."""
        run = self._post(_RUN, {"id": run_id})["runOrError"]
        steps = [
            Step(item["stepKey"], item["status"], (item["endTime"] or item["startTime"]) - item["startTime"])
            for item in run["stepStats"]
            if item["startTime"]
        ]
        return run["status"], steps

    def failure(self, run_id: str) -> str:
        """Return why the run failed, in one sentence."""
        events = self._post(_FAILURE, {"id": run_id})["logsForRun"]["events"]
        errors = [event for event in events if event.get("error")]
        if not errors:
            return "Dagster does not say why; see the run's page."
        error = errors[0]["error"]
        cause = (error["causes"] or [error])[-1]
        return f"{errors[0]['stepKey']}: {cause['message'].strip().splitlines()[0]}"

    def _post(self, query: str, variables: dict[str, Any], timeout: float = _ANSWER_SECONDS) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310 -- our own loopback address
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310
            answer = json.load(response)
        if "errors" in answer:
            raise ProcessError(f"Dagster refused a query: {answer['errors'][0]['message']}")
        return answer["data"]

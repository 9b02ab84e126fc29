"""The platform's image, compose file and manifests, as far as they can be judged without Docker or a cluster."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from reference_pages import settings_rows

from crucible.cli import crucible
from crucible.settings import _SECRETS, Settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
ENTRY = DEPLOY / "container" / "platform-entrypoint"
COMPOSE = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
MANIFESTS = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "crucible.yaml").read_text()))
VALUES = yaml.safe_load((DEPLOY / "kubernetes" / "values-dagster.yaml").read_text())
OURS = [name for name, service in SERVICES.items() if "build" in service]
PODS = [item["spec"]["template"]["spec"] for item in MANIFESTS if item["kind"] == "Deployment"]


def of_kind(kind):
    return {item["metadata"]["name"]: item for item in MANIFESTS if item["kind"] == kind}


def test_every_variable_is_a_documented_setting():
    known = {name for name, _, meaning in settings_rows() if meaning}
    known |= {f"CRUCIBLE_{name.upper()}_FILE" for name in _SECRETS}
    pages = "".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))
    pages += (ROOT / "docs" / "reference_pages.py").read_text()
    named = {}
    for path in DEPLOY.rglob("*"):
        if path.is_file() and "secrets" not in path.parts:
            for name in re.findall(r"\bCRUCIBLE_[A-Z_]+\b", path.read_text()):
                named.setdefault(name, path)
    assert {"CRUCIBLE_DAGSTER_STORE_FILE", "CRUCIBLE_FLEET_DATABASE_FILE"} <= named.keys()
    assert {name: path for name, path in named.items() if name not in known and f"`{name}`" not in pages} == {}


@pytest.mark.parametrize("name", ["Dockerfile", "platform.Dockerfile"])
def test_an_image_is_small_locked_and_not_roots(name):
    text = (DEPLOY / "container" / name).read_text()
    joined = text.replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if line.startswith("ADD ") or "sudo" in line or ":latest" in line] == []
    assert len([line for line in lines if line.startswith("FROM ")]) == 2  # what builds stays behind
    for line in lines:
        if "apt-get install" in line:
            assert "--no-install-recommends" in line
            assert line.index("apt-get update") < line.index("apt-get install") < line.index("/var/lib/apt/lists")
        if re.search(r"-r requirements/|uv pip sync", line):
            assert "--require-hashes" in line
            assert "--no-cache" in line
    order = [line.split()[0] for line in lines]
    assert order.index("USER") < order.index("ENTRYPOINT") < order.index("CMD")
    assert 'ENTRYPOINT ["tini", "--"' in text
    sources = [source for line in lines if line.startswith("COPY ") and "--from" not in line
               for source in line.split()[1:-1]]  # fmt: skip
    assert [source for source in sources if not (ROOT / source).exists()] == []
    ignored = (DEPLOY / "container" / f"{name}.dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    assert set(sources) == {line[1:] for line in ignored if line.startswith("!")}


def test_the_compose_file_hangs_together():
    assert {"database", "objects", "bucket", "code", "webserver", "daemon", "mlflow", "dashboard", "fleet"} <= set(
        SERVICES
    )
    for name, service in SERVICES.items():
        for secret in service.get("secrets", []):
            assert secret in COMPOSE["secrets"], name
        told = " ".join(map(str, service.get("environment", {}).values()))
        files = re.findall(r"/run/secrets/(\w+)", told)
        if name != "bucket":  # which has what the others have, and reads its credentials alone
            assert set(files) - {"dagster_store"} <= set(service.get("secrets", [])), name
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (DEPLOY / "compose" / source).exists(), volume
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
        for other, how in service.get("depends_on", {}).items():
            wanted = how["condition"]
            assert wanted in ("service_healthy", "service_completed_successfully")
            assert wanted != "service_healthy" or "healthcheck" in SERVICES[other], (name, other)
            assert wanted == "service_healthy" or SERVICES[other]["restart"] == "no"
    for name in OURS:
        service = SERVICES[name]
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert (DEPLOY / "compose" / service["build"]["context"] / service["build"]["dockerfile"]).exists()
    assert not re.search(r"PASSWORD\s*:|postgresql://", (DEPLOY / "compose" / "compose.yaml").read_text())
    assert int(SERVICES["fleet"]["stop_grace_period"][:-1]) > 10


def test_the_secrets_are_what_the_settings_ask_for(tmp_path):
    if os.getuid():
        pytest.skip("only root can give a file to another account, so this DID NOT RUN")
    script = shutil.copy2(DEPLOY / "compose" / "make-secrets", tmp_path / "make-secrets")
    subprocess.run([script], check=True, capture_output=True, stdin=subprocess.DEVNULL)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()} == set(made)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "secrets").iterdir()} == {0o400}
    environ = {f"CRUCIBLE_{name.upper()}_FILE": str(tmp_path / "secrets" / name)
               for name in ("dagster_store", "mlflow_store", "fleet_database")}  # fmt: skip
    settings = Settings.load({**environ, "CRUCIBLE_HOME": str(tmp_path)})
    assert settings.dagster_store.startswith("postgresql+psycopg2://crucible:")
    assert settings.mlflow_store.startswith("postgresql+psycopg://crucible:")
    assert settings.fleet_database.startswith("postgresql://crucible:")
    assert made["postgres_password"] in settings.dagster_store
    assert made["objects_password"] in made["objects_credentials"]
    databases = re.findall(r"CREATE DATABASE (\w+)", (DEPLOY / "compose" / "databases.sql").read_text())
    assert {
        url.rpartition("/")[2] for url in (settings.dagster_store, settings.mlflow_store, settings.fleet_database)
    } == set(databases)
    assert len(made["dashboard_token"]) >= 16
    again = subprocess.run([script], check=False, capture_output=True, stdin=subprocess.DEVNULL)
    assert (again.returncode, b"nothing was changed" in again.stderr) == (1, True)


@pytest.fixture
def said(tmp_path):
    """What the entry point starts, by stand-ins that tell their name, arguments and some of the environment."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("python", "dagster", "dagster-webserver", "dagster-daemon", "mlflow"):
        answer = 'if [ "$3" = dagster-home ]; then echo /where; exit; fi\n' if name == "python" else ""
        (folder / name).write_text(
            f'#!/bin/sh\n{answer}echo {name} "$@" [$DAGSTER_HOME$CRUCIBLE_DAGSTER_STORE$MLFLOW_BACKEND_STORE_URI]\n'
        )
        (folder / name).chmod(0o755)
    (tmp_path / "url").write_text("postgresql+x://secret\n")

    def run(*arguments, **environ):
        values = {"PATH": f"{folder}:{os.environ['PATH']}", "CRUCIBLE_HOME": str(tmp_path), **environ}
        done = subprocess.run([ENTRY, *arguments], env=values, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    return run


def test_the_entry_point_starts_each_server_with_its_secret(said, tmp_path):
    store = {"CRUCIBLE_DAGSTER_STORE_FILE": str(tmp_path / "url"), "CRUCIBLE_MLFLOW_STORE_FILE": str(tmp_path / "url")}
    assert said("webserver", "/w.yaml", **store) == (
        "dagster-webserver --host 0.0.0.0 --port 3000 --workspace /w.yaml [/wherepostgresql+x://secret]"
    )
    assert said("daemon", "/w.yaml", **store).startswith("dagster-daemon run --workspace /w.yaml [/wherepostgresql")
    assert "--module-name pipelines.definitions --location-name crucible [/where]" in said("code")
    assert said("mlflow", **store) == "mlflow server --host 0.0.0.0 --port 5000 --workers 1 [postgresql+x://secret]"
    assert said("dashboard", "--read-only") == "python -m crucible dashboard --host 0.0.0.0 --port 8050 --read-only []"
    assert said("dagster", "api", "grpc") == "dagster api grpc []"
    assert said("wallet", "ls") == "python -m crucible wallet ls []"


def started():
    """Every command that the compose file and the manifests give to the two images."""
    for name in OURS:
        yield SERVICES[name]["build"]["dockerfile"], SERVICES[name].get("command", [])
    for pod in PODS:
        for container in pod["containers"]:
            yield container["image"], container["args"]


def test_what_is_started_exists():
    words = {"webserver", "daemon", "code", "mlflow", "bucket"}
    text = ENTRY.read_text()
    assert os.access(ENTRY, os.X_OK)
    for image, command in started():
        if not command or command[0] in words:
            assert not command or re.search(rf"^(\w+ \| )*{command[0]}( \| \w+)*\)$", text, re.M), command
            continue
        arguments = ["fleet", "run"] if "worker" in image or command == ["fleet"] else command
        assert CliRunner().invoke(crucible, [*arguments, "--help"]).exit_code == 0, arguments
    for service in SERVICES.values():
        check = service.get("healthcheck", {}).get("test", [])
        assert check[1:3] != ["platform-entrypoint", "health"] or f"{check[3]})" in text


def test_the_manifests_hang_together():
    claims, secrets = of_kind("PersistentVolumeClaim"), {"crucible"}
    made = (DEPLOY / "compose" / "make-secrets").read_text()
    for name, deployment in of_kind("Deployment").items():
        pod = deployment["spec"]["template"]["spec"]
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert pod["securityContext"]["runAsNonRoot"], name
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for volume in volumes.values():
            assert volume.get("persistentVolumeClaim", {}).get("claimName", "crucible-home") in claims
            assert volume.get("secret", {}).get("secretName", "crucible") in secrets
        for container in pod["containers"]:
            assert not container["securityContext"]["allowPrivilegeEscalation"]
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
            assert container["resources"]["limits"]["memory"]
            for item in container.get("env", []):
                assert f">{Path(item['value']).name}" in made, item
    for value in of_kind("ConfigMap")["crucible"]["data"].values():
        assert not value.startswith("/run/secrets/") or f">{Path(value).name}" in made
    fleet = of_kind("Deployment")["crucible-fleet"]["spec"]
    # a journal and a lease have one owner
    assert (fleet["replicas"], fleet["strategy"]["type"]) == (1, "Recreate")
    assert claims["crucible-fleet"]["spec"]["accessModes"] == ["ReadWriteOnce"]
    pods = [item["spec"]["template"]["metadata"]["labels"] for item in of_kind("Deployment").values()]
    for name, service in of_kind("Service").items():
        assert any(service["spec"]["selector"].items() <= labels.items() for labels in pods), name


def test_dagsters_chart_is_of_the_locked_release_and_says_what_dagster_yaml_says():
    lock = (ROOT / "requirements" / "server.txt").read_text()
    release = re.search(r"^dagster==([\d.]+)", lock, re.M)[1]
    text = (DEPLOY / "kubernetes" / "values-dagster.yaml").read_text()
    assert f"--version {release} " in text
    assert f"dagster-k8s==0.29.{release.rpartition('.')[2]}" in lock
    own = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    daemon = VALUES["dagsterDaemon"]
    queue = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert queue["maxConcurrentRuns"] == own["concurrency"]["runs"]["max_concurrent_runs"]
    assert queue["tagConcurrencyLimits"] == own["concurrency"]["runs"]["tag_concurrency_limits"]
    assert queue["dequeueIntervalSeconds"] == own["run_queue"]["dequeue_interval_seconds"]
    assert daemon["runRetries"]["maxRetries"] == own["run_retries"]["max_retries"]
    assert daemon["runMonitoring"]["maxRuntimeSeconds"] == own["run_monitoring"]["max_runtime_seconds"]
    assert VALUES["runLauncher"]["type"] == "K8sRunLauncher"
    code = VALUES["dagster-user-deployments"]["deployments"][0]
    assert code["codeServerArgs"] == ["--module-name", "pipelines.definitions", "--location-name", "crucible"]
    workspace = yaml.safe_load((DEPLOY / "compose" / "workspace.yaml").read_text())["load_from"][0]["grpc_server"]
    assert (workspace["host"], workspace["port"], workspace["location_name"]) == ("code", 4000, "crucible")

"""MLflow's database on PostgreSQL, and artifacts outside the home."""

import shutil
from dataclasses import replace

import boto3
import pytest
from moto.server import ThreadedMotoServer
from postgres_server import postgres_server

from crucible.errors import RegistryError
from crucible.registry.models import CHAMPION, alias_version, fetch_bundle, register, set_alias
from crucible.registry.store import client
from crucible.registry.tracking import log_evaluation
from crucible.settings import Settings


@pytest.mark.processes
def test_runs_versions_and_aliases_live_in_postgresql(tmp_path, recipe, evaluation, make_bundle):
    bundle = make_bundle()
    with postgres_server() as place:
        settings = Settings(
            home=tmp_path / "other", recipes=tmp_path, mlflow_store=f"postgresql+psycopg://{place}",
            artifact_root=str(tmp_path / "elsewhere"),
        )  # fmt: skip
        run_id = log_evaluation(settings, evaluation)
        version = register(settings, bundle, run_id, {"verdict": "passed"})
        set_alias(settings, recipe.name, CHAMPION, version)
        assert alias_version(settings, recipe.name, CHAMPION) == version
        assert fetch_bundle(settings, recipe.name, version).digest == bundle.digest
        assert any((tmp_path / "elsewhere" / recipe.name).rglob("*"))
        assert not (settings.mlruns / "mlflow.db").exists()
        assert client(settings).get_run(run_id).data.tags["evaluation"] == "e1"
        client(settings)._tracking_client.store.engine.dispose()  # before the server goes


def test_a_password_is_never_shown(tmp_path):
    settings = Settings(
        home=tmp_path, recipes=tmp_path, mlflow_store="postgresql+psycopg://me:secret-word@127.0.0.1:1/none"
    )
    assert "secret-word" not in repr(settings)
    with pytest.raises(RegistryError, match=r"postgresql\+psycopg://me:\*\*\*@127") as caught:
        client(settings)
    assert "secret-word" not in str(caught.value)


@pytest.mark.processes
def test_artifacts_live_in_an_object_store(settings, recipe, evaluation, make_bundle, monkeypatch):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "MLFLOW_S3_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "word",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    try:
        boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="models")
        settings = replace(settings, artifact_root="s3://models/crucible/")
        bundle = make_bundle()
        version = register(settings, bundle, log_evaluation(settings, evaluation), {"verdict": "passed"})
        shutil.rmtree(bundle.path)  # what is deployed comes from the store
        assert fetch_bundle(settings, recipe.name, version).digest == bundle.digest
        found = boto3.client("s3", endpoint_url=f"http://{host}:{port}").list_objects_v2(Bucket="models")["Contents"]
        assert all(item["Key"].startswith(f"crucible/{recipe.name}/") for item in found)
        assert not (settings.mlruns / "artifacts").exists()
    finally:
        server.stop()

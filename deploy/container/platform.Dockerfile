# The platform's image: Dagster's web server, daemon and code server, MLflow, dashboard and monitor.
#   docker build -f deploy/container/platform.Dockerfile -t crucible-platform .
#   docker run --rm crucible-platform doctor --offline
# The base is pinned by its digest where it is built for production: --build-arg BASE=python:3.11-slim@sha256:…
ARG BASE=python:3.11-slim
FROM ${BASE} AS build
WORKDIR /build
COPY requirements/bootstrap.txt requirements/server.txt requirements/
RUN python -m venv /opt/bootstrap && python -m venv /opt/crucible \
 && /opt/bootstrap/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt \
 && /opt/bootstrap/bin/uv pip sync --no-cache --python /opt/crucible/bin/python --require-hashes --compile-bytecode requirements/server.txt
COPY crucible /opt/crucible/app/crucible
COPY pipelines /opt/crucible/app/pipelines
COPY assets /opt/crucible/app/assets
COPY resources /opt/crucible/app/resources
COPY recipes /opt/crucible/app/recipes
COPY dagster.yaml workspace.yaml /opt/crucible/app/
RUN /opt/crucible/bin/python -m compileall -q /opt/crucible/app

FROM ${BASE}
# LightGBM needs OpenMP; tini passes signals on and buries what runs leave
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 tini && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --create-home --home-dir /srv/crucible crucible
COPY --from=build /opt/crucible /opt/crucible
COPY deploy/container/platform-entrypoint /usr/local/bin/platform-entrypoint
ENV PATH=/opt/crucible/bin:$PATH \
    PYTHONPATH=/opt/crucible/app \
    PYTHONUNBUFFERED=1 \
    CRUCIBLE_HOME=/srv/crucible \
    CRUCIBLE_RECIPES=/opt/crucible/app/recipes \
    DO_NOT_TRACK=true \
    OMP_NUM_THREADS=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false
USER 10001
WORKDIR /opt/crucible/app
VOLUME /srv/crucible
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--", "platform-entrypoint"]
CMD ["status"]

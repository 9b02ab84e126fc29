#!/usr/bin/env bash
# Resolve pyproject.toml into locked, hashed files for every platform. No registry host is written into them.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
compile() {
    "$uv" pip compile --quiet --universal --python-version 3.11 --no-header --no-emit-index-url \
        --no-emit-find-links --no-annotate --generate-hashes --upgrade "$@"
}
# everything that a developer needs is resolved first; the smaller sets take their versions from it
compile --extra dev pyproject.toml requirements/build.in -o requirements/dev.txt
"$uv" pip compile --quiet --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links \
    --no-annotate --generate-hashes --constraint requirements/dev.txt --extra lab pyproject.toml -o requirements/all.txt
"$uv" pip compile --quiet --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-find-links \
    --no-annotate --generate-hashes --constraint requirements/dev.txt pyproject.toml -o requirements/worker.txt
compile requirements/bootstrap.in -o requirements/bootstrap.txt

#!/usr/bin/env bash
# Resolve pyproject.toml into locked, hashed files for every platform. No registry host is written into them.
#   lock.sh           everything anew
#   lock.sh --keep    what pyproject.toml asks for now, and every version that still fits as it is
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
upgrade=--upgrade
if [ "${1:-}" = --keep ]; then upgrade=--no-upgrade; fi
compile() {
    "$uv" pip compile --quiet --universal --python-version 3.11 --no-header --no-emit-index-url \
        --no-emit-find-links --no-annotate --generate-hashes "$@"
}
# everything that a developer needs is resolved first; the smaller sets take their versions from it
compile "$upgrade" --extra dev pyproject.toml requirements/build.in -o requirements/dev.txt
# the servers' set holds what only Kubernetes needs besides
taken=(--constraint requirements/dev.txt pyproject.toml)
compile --extra lab "${taken[@]}" -o requirements/all.txt
compile --extra lab --extra postgres --extra s3 --extra server --extra kubernetes "${taken[@]}" -o requirements/server.txt
compile "${taken[@]}" -o requirements/worker.txt
compile "$upgrade" requirements/bootstrap.in -o requirements/bootstrap.txt

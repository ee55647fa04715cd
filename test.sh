#!/usr/bin/env bash
# Lint, types and tests. Installs what it needs first. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")"
source environment.sh
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/pyright
.venv/bin/python -m pytest "$@"

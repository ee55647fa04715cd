#!/usr/bin/env bash
# Builds the website in site/; a broken link is an error. Needs pip install -e '.[docs]'.
set -euo pipefail
export NO_MKDOCS_2_WARNING=1
cd "$(dirname "$0")/.."
python=python3
if [ -x .venv/bin/python ]; then python=.venv/bin/python; fi
"$python" -m mkdocs build --strict "$@"

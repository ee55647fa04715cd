#!/usr/bin/env bash
# Runs every benchmark, and puts the results into docs/costs.md and docs/choosing.md: about an hour
# and a half on two idle CPU cores. With a finished run of intellectual_property_protection's small
# configuration:
#   bash benchmarks/all.sh runs/intellectual_property_protection/small-...
set -euo pipefail
cd "$(dirname "$0")/.."
source environment.sh
export PYTHONPATH=.:benchmarks
demo=$(.venv/bin/python -c 'from trained_zoo import demo_run; print(demo_run())')
for name in field pairs storage sketch index; do
  .venv/bin/python "benchmarks/$name.py"
done
.venv/bin/python benchmarks/scale.py --zoo "${1:-$demo}"
.venv/bin/python benchmarks/knobs.py --zoo "$demo" "$@"
.venv/bin/python benchmarks/summary.py

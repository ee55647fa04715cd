#!/usr/bin/env bash
# Lint, types and tests. Installs what it needs first.
#   bash test.sh                 everything, on every core that this process may use
#   bash test.sh --quick         without the tests marked slow or stages, and types of packages only
#   bash test.sh tests/cli -x    lint, types, and pytest with these arguments, which may follow
#                                --quick, too
set -euo pipefail
cd "$(dirname "$0")"
source environment.sh
# One process per core, each with one thread.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
cores=$(.venv/bin/python -c \
  'import os; print(len(getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count()))(0)))')
workers=(-n "$cores" --dist worksteal)
if [[ ${1:-} == --quick ]]; then
  shift
  typed=(modelgif intellectual_property_protection model_selection model_unlearning task_relatedness)
  set -- -m "not slow and not stages" "$@"
else
  typed=()
  [[ $# -eq 0 ]] || workers=()
fi

.venv/bin/ruff check .
.venv/bin/ruff format --check .
types=$(mktemp)
.venv/bin/pyright "${typed[@]}" >"$types" 2>&1 &
pyright=$!
trap 'rm -f "$types"; kill "$pyright" 2>/dev/null || true' EXIT
failed=0
.venv/bin/python -m pytest "${workers[@]}" "$@" || failed=$?
wait "$pyright" || failed=1
cat "$types"
exit "$failed"

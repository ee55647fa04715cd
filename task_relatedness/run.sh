#!/usr/bin/env bash
# All stages with one configuration: bash run.sh configs/small.yaml [key.subkey=value ...]
set -euo pipefail
config=$(realpath "${1:?give a configuration, such as configs/small.yaml}")
shift
cd "$(dirname "$0")/.."
for stage in train transfer extract_fields evaluate plot; do
  .venv/bin/python -m "task_relatedness.$stage" "$config" "$@"
done

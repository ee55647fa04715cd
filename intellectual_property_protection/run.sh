#!/usr/bin/env bash
# All stages with one configuration: bash run.sh configs/demo.yaml [key.subkey=value ...]
set -euo pipefail
config=$(realpath "${1:?give a configuration, such as configs/demo.yaml}")
shift
cd "$(dirname "$0")/.."
for stage in train extract_fields evaluate plot; do
  .venv/bin/python -m "intellectual_property_protection.$stage" "$config" "$@"
done

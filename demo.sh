#!/usr/bin/env bash
# Which of thirteen real, trained models were derived from a victim? Installs what it needs first.
set -euo pipefail
cd "$(dirname "$0")"
source environment.sh
config=${1:-intellectual_property_protection/configs/demo.yaml}
bash intellectual_property_protection/run.sh "$config" "${@:2}"

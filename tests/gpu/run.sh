#!/usr/bin/env bash
# Checks on one GPU what no CPU can show: under eight minutes, no network.
#
#   tests/gpu/run.sh [PYTHON]
#
# PYTHON has the packages of `pip install '.[data]'` and a torch with CUDA. Prints a table, and
# fails if a check did.
set -euo pipefail
cd "$(dirname "$0")/../.."
export HF_HUB_OFFLINE=1 PYTHONPATH="$PWD"
exec timeout 480 "${1:-python3}" -m tests.gpu.checks --device cuda

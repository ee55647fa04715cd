#!/usr/bin/env bash
# torch.manual_seed takes 64 bits and initial_seed() returns them all, but the generator of the CPU
# is started from the lower 32: seeds that differ by a multiple of 2**32 give the same numbers, so
# that networks "of large random seeds" can start from the weights of seed 42. numpy's generators
# and random.seed tell the same two seeds apart. Fails when torch no longer behaves so.
set -euo pipefail
version=${1:-2.13.0}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "torch==$version" "numpy==2.4.6"
"$folder/venv/bin/python" - <<'PYTHON'
import random

import numpy
import torch

small, large = 42, 2**32 + 42


def start(seed):
    torch.manual_seed(seed)
    return torch.nn.Linear(64, 64).weight.detach().clone(), torch.initial_seed()


(first, said), (second, said_too) = start(small), start(large)
print("torch", torch.__version__, "numpy", numpy.__version__)
print("initial_seed():", said, said_too, "- the same weights:", torch.equal(first, second))
assert (said, said_too) == (small, large)
assert torch.equal(first, second), "the seeds give other weights: the finding no longer holds"
assert numpy.random.default_rng(small).random() != numpy.random.default_rng(large).random()
assert random.Random(small).random() != random.Random(large).random()
print("torch starts seeds 42 and 2**32 + 42 alike, numpy and Python do not")
PYTHON

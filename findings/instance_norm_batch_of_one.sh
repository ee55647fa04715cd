#!/usr/bin/env bash
# On the CPU, the gradient through instance normalisation of a batch of ONE image is wrong when what
# follows hands its gradient back with the channels together, as a permutation to tokens does:
# no error, no warning, and the same network is right for two images at a time. The incoming
# gradient has the strides of a channels-last tensor there, which for one image are ambiguous.
# Compared with central differences and with the same backward pass for a contiguous gradient.
# Fails when torch no longer behaves so.
set -euo pipefail
version=${1:-2.13.0}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "torch==$version" "numpy==2.4.6"
"$folder/venv/bin/python" - <<'PYTHON'
import torch
from torch.nn.functional import instance_norm

print("torch", torch.__version__)
off = {}
for batch in (1, 2):
    draw = torch.Generator().manual_seed(0)
    x, v = (torch.randn(batch, 8, 4, 4, dtype=torch.float64, generator=draw) for _ in range(2))
    weights = torch.randn(batch, 16, 8, dtype=torch.float64, generator=draw)

    def value(images):
        tokens = instance_norm(images).flatten(2).transpose(1, 2)
        return (tokens * weights).sum()

    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(leaf), leaf)
    output = instance_norm(leaf)
    incoming = weights.transpose(1, 2).reshape(output.shape).contiguous()
    (right,) = torch.autograd.grad(output, leaf, incoming)
    step = 1e-6
    measured = (value(x + step * v) - value(x - step * v)) / (2 * step)
    print(
        f"batch of {batch}: along a random direction {(gradient * v).sum():.6f}, "
        f"by central differences {measured:.6f}, "
        f"for a contiguous incoming gradient {(right * v).sum():.6f}"
    )
    assert abs((right * v).sum() - measured) < 1e-5
    off[batch] = abs((gradient * v).sum() - measured).item()
assert off[2] < 1e-5, off
assert off[1] > 0.1, "the gradient of a batch of one is right: the finding no longer holds"
print("the gradient of one image is wrong, and of two images right")
PYTHON

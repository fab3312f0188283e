"""What the reference decoder generates: float64, without a cache, checked by plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from bench.contract import ParityError
from bench.dims import DecoderDims
from bench.generation import NEW_TOKENS, words
from workloads import batches, numpy_forward

Arrays = dict[str, np.ndarray]

PROMPTS = 8
CLEAR = 1e-4
"""Of the largest logit: by less no token may be chosen. float32 was off by 1.3e-6 at most, and its
bound in the gate is 1e-5 for each of two logits."""


def answers(
    net: nn.Module, dims: DecoderDims, *, initial: Arrays, data: batches.Data, count: int
) -> dict[str, Any]:
    """The trace's ``generate``: of the first ``count`` held-out samples, at most PROMPTS, whose
    tokens are all chosen clearly. ParityError where there are not so many, or numpy disagrees.
    """
    found: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []
    wanted = min(count, PROMPTS)
    for row, prompt in enumerate(data["test.ids"]):
        tokens, logits = generate(net, prompt)
        margins = clearness(logits)
        if margins.min() > CLEAR:
            _agree(dims, initial, prompt, tokens)
            found.append((row, tokens, margins, logits))
        if len(found) == wanted:
            break
    else:
        raise ParityError(f"only {len(found)} of {row + 1} samples are continued clearly")
    rows, chosen, margins, logits = zip(*found, strict=True)
    return {
        "rows": list(rows),
        "tokens": np.stack(chosen).tolist(),
        "margins": np.stack(margins).tolist(),
        "first": words(np.stack([one[0] for one in logits])).tolist(),
        "last": words(np.stack([one[-1] for one in logits])).tolist(),
    }


def generate(net: nn.Module, prompt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of ids [P] the next tokens [NEW_TOKENS], and the logits that each was chosen by."""
    ids, seen = torch.from_numpy(np.array(prompt))[None], []
    with torch.no_grad():
        for _ in range(NEW_TOKENS):
            seen.append(net(ids)[:, -1])
            ids = torch.cat([ids, seen[-1].argmax(-1, keepdim=True)], dim=1)
    return ids[0, len(prompt) :].numpy(), torch.cat(seen).numpy()


def clearness(logits: np.ndarray) -> np.ndarray:
    """[N, vocab] -> [N]: by how much of the largest value the best is ahead of the second."""
    ahead = np.sort(logits, axis=1)[:, -2:]
    margins: np.ndarray = (ahead[:, 1] - ahead[:, 0]) / np.abs(logits).max(axis=1)
    return margins


def _agree(dims: DecoderDims, initial: Arrays, prompt: np.ndarray, tokens: np.ndarray) -> None:
    """numpy, shown prompt and tokens at once, would choose the same tokens."""
    ids = np.concatenate([prompt, tokens[:-1]])[None]
    theirs = numpy_forward.logits(dims, initial, {"ids": ids})[0, len(prompt) - 1 :].argmax(-1)
    if not np.array_equal(theirs, tokens):
        raise ParityError("PyTorch and numpy generate different tokens")

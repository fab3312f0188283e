"""What the reference decoder generates: float64, without a cache, checked by plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from backends.torch.decoder import Decoder, rotation
from backends.torch.generation import Cached
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
    net: Decoder, dims: DecoderDims, *, initial: Arrays, data: batches.Data, count: int
) -> dict[str, Any]:
    """The trace's ``generate``: of the first ``count`` held-out samples, at most PROMPTS, whose
    tokens are all chosen clearly. ParityError where there are not so many, or numpy disagrees.
    """
    found: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []
    wanted = min(count, PROMPTS)
    for row, prompt in enumerate(data["test.ids"]):
        tokens, logits = generate(net, dims, prompt)
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


def generate(net: Decoder, dims: DecoderDims, prompt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of ids [P] the next tokens [NEW_TOKENS], and the logits that each was chosen by.

    A cache finds the tokens; the logits are those of one pass without it over prompt and tokens,
    each position of which sees only what is before it: where it would choose the same tokens, they
    are what it would have generated token by token. ParityError where it would not.
    """
    tokens = _drafted(net, dims, prompt)
    shown = torch.from_numpy(np.concatenate([prompt, tokens[:-1]]))[None]
    with torch.no_grad():
        logits = net(shown)[0, len(prompt) - 1 :].numpy()
    if not np.array_equal(logits.argmax(axis=1), tokens):
        raise ParityError("PyTorch generates different tokens with and without a cache")
    return tokens, logits


def _drafted(net: Decoder, dims: DecoderDims, prompt: np.ndarray) -> np.ndarray:
    room = len(prompt) + NEW_TOKENS
    network = Cached(net, dims, batch=1, room=room).double().eval()
    network.cos, network.sin = rotation(dims, torch.zeros(1, room, 1, dtype=torch.float64))
    ids, places = torch.from_numpy(np.array(prompt))[None], torch.arange(len(prompt))
    drafted = []
    with torch.no_grad():
        for _ in range(NEW_TOKENS):
            ids = network(ids, places).argmax(-1, keepdim=True)
            places = places[-1:] + 1
            drafted.append(int(ids))
    return np.array(drafted)


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

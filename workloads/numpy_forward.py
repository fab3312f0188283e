"""Both models once more, in plain numpy and float64: the check of the reference itself.

Written from the description of the networks, not from any framework's code, so that an error
in the PyTorch models does not become the reference. Slow, and only as general as the traces
need. Images are channels-last in here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

import numpy as np

from bench.contract import Batch
from bench.dims import CnnDims, Dims, EncoderDims

Arrays = Mapping[str, np.ndarray]
Unit = Callable[..., np.ndarray]


def logits(dims: Dims, weights: Arrays, batch: Batch, *, training: bool = False) -> np.ndarray:
    """float64 [B, classes]; ``training`` normalises by the batch's own statistics.

    Raises KeyError where a weight is missing.
    """
    wide = {
        name: array.astype(np.float64)
        for name, array in weights.items()
        if name != "embeddings.word_embeddings.weight"  # only the rows in use, see _embed
    }
    if isinstance(dims, CnnDims):
        return _cnn(dims, wide, batch["image"].astype(np.float64), training=training)
    words = weights["embeddings.word_embeddings.weight"][batch["ids"]].astype(np.float64)
    return _encoder(dims, wide, words, batch["mask"])


def cross_entropy(logits: np.ndarray, label: np.ndarray) -> float:
    """Mean over the samples of -log softmax(logits)[label]."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(shifted).sum(axis=1))
    return float(np.mean(log_total - shifted[np.arange(len(label)), label]))


def _cnn(dims: CnnDims, w: Arrays, image: np.ndarray, *, training: bool) -> np.ndarray:
    def unit(x: np.ndarray, conv: str, norm: str, *, stride: int) -> np.ndarray:
        """A convolution and its batch normalisation."""
        out = _conv(x, w[f"{conv}.weight"], stride=stride)
        return _batch_norm(dims, w, norm, out, training=training)

    x = image.transpose(0, 2, 3, 1)
    x = np.maximum(unit(x, "conv1", "bn1", stride=1 if dims.stem == "3x3" else 2), 0)
    if dims.stem == "7x7":
        x = _max_pool(x)
    for layer, blocks in enumerate(dims.blocks, start=1):
        for index in range(blocks):
            stride = 2 if layer > 1 and index == 0 else 1
            x = _block(dims, x, f"layer{layer}.{index}", stride=stride, unit=unit, names=w)
    result: np.ndarray = x.mean(axis=(1, 2)) @ w["fc.weight"].T + w["fc.bias"]
    return result


def _block(
    dims: CnnDims, x: np.ndarray, at: str, *, stride: int, unit: Unit, names: Collection[str]
) -> np.ndarray:
    """A residual block; a bottleneck's stride sits in its second convolution, the 3 x 3."""
    strides = [1, stride, 1] if dims.bottleneck else [stride, 1]
    out = x
    for number, step in enumerate(strides, start=1):
        out = unit(out, f"{at}.conv{number}", f"{at}.bn{number}", stride=step)
        if number < len(strides):
            out = np.maximum(out, 0)
    if f"{at}.downsample.0.weight" in names:
        x = unit(x, f"{at}.downsample.0", f"{at}.downsample.1", stride=stride)
    result: np.ndarray = np.maximum(out + x, 0)
    return result


def _conv(x: np.ndarray, kernel: np.ndarray, *, stride: int) -> np.ndarray:
    """[N, H, W, C] by OIHW with k // 2 zeros on each side: a sum over the kernel's positions."""
    k = kernel.shape[-1]
    out = (x.shape[1] + 2 * (k // 2) - k) // stride + 1
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    reach = stride * (out - 1) + 1
    # Contiguous operands: matmul is ten times slower on strided ones.
    parts = np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))
    total = np.zeros((len(x) * out * out, kernel.shape[0]))
    for row in range(k):
        for column in range(k):
            piece = padded[:, row : row + reach : stride, column : column + reach : stride]
            total += piece.reshape(len(total), -1) @ parts[row, column]
    return total.reshape(len(x), out, out, -1)


def _max_pool(x: np.ndarray) -> np.ndarray:
    """3 x 3, stride 2, one row and column on each side that never win."""
    out = (x.shape[1] - 1) // 2 + 1
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    reach = 2 * (out - 1) + 1
    pieces = [padded[:, r : r + reach : 2, c : c + reach : 2] for r in range(3) for c in range(3)]
    result: np.ndarray = np.maximum.reduce(pieces)
    return result


def _batch_norm(dims: CnnDims, w: Arrays, at: str, x: np.ndarray, *, training: bool) -> np.ndarray:
    """By the running statistics, or in training by the batch's mean and biased variance."""
    mean = x.mean(axis=(0, 1, 2)) if training else w[f"{at}.running_mean"]
    variance = x.var(axis=(0, 1, 2)) if training else w[f"{at}.running_var"]
    scale = w[f"{at}.weight"] / np.sqrt(variance + dims.bn_eps)
    result: np.ndarray = (x - mean) * scale + w[f"{at}.bias"]
    return result


def _encoder(dims: EncoderDims, w: Arrays, words: np.ndarray, mask: np.ndarray) -> np.ndarray:
    def dense(x: np.ndarray, at: str) -> np.ndarray:
        result: np.ndarray = x @ w[f"{at}.weight"].T + w[f"{at}.bias"]
        return result

    def norm(x: np.ndarray, at: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = (centred**2).mean(axis=-1, keepdims=True)
        result: np.ndarray = centred / np.sqrt(variance + dims.ln_eps)
        return result * w[f"{at}.weight"] + w[f"{at}.bias"]

    def heads(x: np.ndarray) -> np.ndarray:
        """[B, S, W] -> [B, heads, S, W / heads]."""
        return x.reshape(*x.shape[:2], dims.heads, -1).transpose(0, 2, 1, 3)

    def attention(x: np.ndarray, at: str) -> np.ndarray:
        query, key, value = (heads(dense(x, f"{at}.{n}")) for n in ("query", "key", "value"))
        scores = query @ key.swapaxes(-1, -2) / math.sqrt(dims.width // dims.heads)
        scores = np.where(mask[:, None, None, :] == 1, scores, -np.inf)
        parts = np.exp(scores - scores.max(axis=-1, keepdims=True))
        parts /= parts.sum(axis=-1, keepdims=True)
        result: np.ndarray = (parts @ value).transpose(0, 2, 1, 3).reshape(x.shape)
        return result

    at = "embeddings"
    places = w[f"{at}.position_embeddings.weight"][: words.shape[1]]
    x = norm(words + places + w[f"{at}.token_type_embeddings.weight"][0], f"{at}.LayerNorm")
    for layer in range(dims.layers):
        at = f"encoder.layer.{layer}"
        context = dense(attention(x, f"{at}.attention.self"), f"{at}.attention.output.dense")
        x = norm(x + context, f"{at}.attention.output.LayerNorm")
        wide = _gelu(dense(x, f"{at}.intermediate.dense"))
        x = norm(x + dense(wide, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    return dense(np.tanh(dense(x[:, 0], "pooler.dense")), "classifier")


def _gelu(x: np.ndarray) -> np.ndarray:
    """The erf form: ``x`` times the normal distribution's Phi(x); numpy has no erf."""
    erf = np.frompyfunc(math.erf, 1, 1)(x / math.sqrt(2))
    result: np.ndarray = x * 0.5 * (1 + np.asarray(erf, dtype=np.float64))
    return result

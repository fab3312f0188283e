"""The models once more, in plain numpy and float64: the check of the reference itself.

Written from the description of the networks, not from any framework's code, so that an error
in the PyTorch models does not become the reference. Slow, and only as general as the traces
need. Images are channels-last in here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np

from bench.contract import Batch
from bench.dims import CnnDims, DecoderDims, Dims, EncoderDims

Arrays = Mapping[str, np.ndarray]
Unit = Callable[..., np.ndarray]


class Wide(Mapping[str, np.ndarray]):
    """Weights, each in float64 from when it is asked for until it is let go of: all of the
    decoder's at once are 2.8 GB at base.
    """

    def __init__(self, weights: Arrays) -> None:
        self.weights = weights

    def __getitem__(self, name: str) -> np.ndarray:
        return self.weights[name].astype(np.float64, copy=False)

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)


def logits(dims: Dims, weights: Arrays, batch: Batch, *, training: bool = False) -> np.ndarray:
    """float64 [B, classes], or a decoder's [B, S, vocab]; ``training`` normalises by the batch's
    own statistics.

    Raises KeyError where a weight is missing.
    """
    wide = Wide(weights)
    if isinstance(dims, CnnDims):
        return _cnn(dims, wide, batch["image"].astype(np.float64), training=training)
    if isinstance(dims, DecoderDims):
        return _decoder(dims, wide, batch["ids"])
    words = weights["embeddings.word_embeddings.weight"][batch["ids"]].astype(np.float64)
    return _encoder(dims, wide, words, batch["mask"])


def cross_entropy(logits: np.ndarray, label: np.ndarray) -> float:
    """Mean over the samples, or over all tokens, of -log softmax(logits)[label]."""
    logits, label = logits.reshape(-1, logits.shape[-1]), label.reshape(-1)
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


def _decoder(dims: DecoderDims, w: Arrays, ids: np.ndarray) -> np.ndarray:
    """[B, S] -> [B, S, vocab], one layer after the other."""

    def norm(x: np.ndarray, at: str) -> np.ndarray:
        size = np.sqrt((x**2).mean(axis=-1, keepdims=True) + dims.norm_eps)
        result: np.ndarray = x / size * w[f"{at}.weight"]
        return result

    table = w["model.embed_tokens.weight"]
    x = table[ids]
    for layer in range(dims.layers):
        at = f"model.layers.{layer}"
        given = norm(x, f"{at}.input_layernorm")
        q, k, v, out = (_projection(dims, w, f"{at}.self_attn.{part}_proj") for part in "qkvo")
        x = x + _causal(dims, given @ q.T, given @ k.T, given @ v.T) @ out.T
        given = norm(x, f"{at}.post_attention_layernorm")
        gate, up, down = (w[f"{at}.mlp.{part}_proj.weight"] for part in ("gate", "up", "down"))
        opened = given @ gate.T
        x = x + (opened / (1 + np.exp(-opened)) * (given @ up.T)) @ down.T
    result: np.ndarray = norm(x, "model.norm") @ table.T
    return result


def _projection(dims: DecoderDims, w: Arrays, at: str) -> np.ndarray:
    """[out, in], with its adapter's product added to it where there is one."""
    if not dims.lora_rank:
        return w[f"{at}.weight"]
    adapter = w[f"{at}.lora_B.weight"] @ w[f"{at}.lora_A.weight"]
    result: np.ndarray = w[f"{at}.weight"] + dims.lora_alpha / dims.lora_rank * adapter
    return result


def _causal(dims: DecoderDims, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Each query head by itself: query i looks at keys 0 to i of the head that it shares."""
    d, shared = dims.head_width, dims.heads // dims.kv_heads
    future = np.triu(np.ones((q.shape[1], q.shape[1]), dtype=bool), k=1)
    mixed = []
    for head in range(dims.heads):
        own, theirs = (slice(one * d, (one + 1) * d) for one in (head, head // shared))
        query, key = (_turned(dims, x) for x in (q[..., own], k[..., theirs]))
        scores = np.where(future, -np.inf, query @ key.swapaxes(-1, -2) / math.sqrt(d))
        parts = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed.append(parts / parts.sum(axis=-1, keepdims=True) @ v[..., theirs])
    return np.concatenate(mixed, axis=-1)


def _turned(dims: DecoderDims, x: np.ndarray) -> np.ndarray:
    """Rotary positions (arXiv:2104.09864) on [B, S, d]: the pair (x[i], x[i + d/2]), as Llama's
    weights are published at Hugging Face, as a complex number times exp(1j * place / theta^(2i/d)).
    """
    half = x.shape[-1] // 2
    angles = np.outer(np.arange(x.shape[1]), dims.rope_theta ** (-np.arange(half) / half))
    pairs = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angles)
    return np.concatenate([pairs.real, pairs.imag], axis=-1)

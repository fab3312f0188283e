"""MindSpore's files: ONNX by ``mindspore.onnx`` and its own MINDIR.

The ONNX exporter knows few operators. What it does not know is rewritten in a copy of the model
that only the exporter sees; each rewriting names its defect.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mindspore as ms
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from mindspore import Tensor, nn, ops

from backends.mindspore import models
from bench.contract import INPUTS, Cell, Settings
from bench.dims import EncoderDims

FILES = {"onnx": "model.onnx", "native": "model.mindir"}

# Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: erf to 1.5e-7.
ERF_SLOPE = 0.3275911
ERF_TERMS = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


class Gelu(nn.Cell):
    """x * Phi(x), with erf as a polynomial. The exporter: "Exporting Erf operator is not yet
    supported"; its other GELU is the tanh form, 9e-5 off.
    """

    def construct(self, x: Tensor) -> Tensor:
        size = ops.abs(x)
        # Not 1 / (...): a number over a tensor is a Reciprocal, which it cannot export either.
        t = (size * 0.0 + 1.0) / (size * (ERF_SLOPE * 0.5**0.5) + 1.0)
        tail = ERF_TERMS[4] * t
        for term in (ERF_TERMS[3], ERF_TERMS[2], ERF_TERMS[1], ERF_TERMS[0]):
            tail = (tail + term) * t
        # x * erf(x) is even, so that no sign is needed.
        return 0.5 * (x + size * (1.0 - tail * ops.exp(size * size * -0.5)))


class MaxPool(nn.Cell):
    """3x3, stride 2, padding 1, behind a ReLU: zeros around the image never win there. The
    exporter: "Exporting MaxPool3DWithArgmax operator is not yet supported", which is what a
    padded pooling becomes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pad = ops.Pad(((0, 0), (0, 0), (1, 1), (1, 1)))
        self.pool = nn.MaxPool2d(3, 2)

    def construct(self, x: Tensor) -> Tensor:
        return self.pool(self.pad(x))


class Lookup(nn.Cell):
    """An embedding without ``nn.Embedding``'s reshape, which fixes the batch in the file."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding_table = embedding.embedding_table

    def construct(self, ids: Tensor) -> Tensor:
        return ops.gather(self.embedding_table, ids, 0)


class Dense(nn.Cell):
    """A dense layer over [B, S, inputs] whose reshapes leave the batch open, as
    ``nn.Dense``'s own do not.
    """

    def __init__(self, dense: nn.Dense) -> None:
        super().__init__()
        self.dense = dense
        self.outputs = dense.out_channels

    def construct(self, x: Tensor) -> Tensor:
        rows = self.dense(x.reshape(-1, x.shape[-1]))
        return rows.reshape(-1, x.shape[1], self.outputs)


def exportable(cell: Cell, trained: nn.Cell) -> nn.Cell:
    """A copy of the model, for the exporter alone, out of what it can express."""
    model = models.make(cell.dims)
    ms.load_param_into_net(model, trained.parameters_dict(), strict_load=True)
    if not isinstance(cell.dims, EncoderDims):
        if isinstance(model.maxpool, nn.MaxPool2d):
            model.maxpool = MaxPool()
        return model
    model.embeddings.word_embeddings = Lookup(model.embeddings.word_embeddings)
    for layer in model.encoder.layer:
        layer.intermediate.gelu = Gelu()
        attention = layer.attention.self
        for name in ("query", "key", "value"):
            setattr(attention, name, Dense(getattr(attention, name)))
        for part in (layer.attention.output, layer.intermediate, layer.output):
            part.dense = Dense(part.dense)
    for name, parameter in model.parameters_and_names():
        parameter.name = name  # the wrappers gave several the same one
    return model


def write(cell: Cell, model: nn.Cell, inputs: tuple[Tensor, ...], path: Path) -> Settings:
    """Write the model below ``path``, its batch dimension dynamic; inputs: of any batch."""
    path.mkdir(parents=True, exist_ok=True)
    file = path / FILES[cell.format]
    model.set_train(False)
    if cell.format == "native":
        # None leaves the batch open.
        shapes = [Tensor(shape=(None, *one.shape[1:]), dtype=one.dtype) for one in inputs]
        ms.export(model, *shapes, file_name=str(file), file_format="MINDIR")
        return {"file": file.name, "exporter": "mindspore.export"}
    names = list(INPUTS[cell.model])
    # The exporter leaves only inputs open: the file says of its logits that they are of this batch.
    example = [ops.zeros((cell.batch, *one.shape[1:]), one.dtype) for one in inputs]
    ms.onnx.export(
        exportable(cell, model),
        *example,
        file_name=str(file),
        input_names=names,
        output_names=["logits"],
        dynamic_axes={name: {0: "batch"} for name in names},
    )
    return {"file": file.name, "exporter": "mindspore.onnx.export", **versions(file)}


def versions(file: Path) -> Settings:
    """Opset and IR version, read from the file; MindSpore brings protobuf, but not onnx."""
    kind: Any = descriptor_pb2.FieldDescriptorProto
    schema = descriptor_pb2.FileDescriptorProto(name="versions.proto", package="versions")
    opset = schema.message_type.add(name="OperatorSetIdProto")
    opset.field.add(name="domain", number=1, type=kind.TYPE_STRING, label=kind.LABEL_OPTIONAL)
    opset.field.add(name="version", number=2, type=kind.TYPE_INT64, label=kind.LABEL_OPTIONAL)
    model = schema.message_type.add(name="ModelProto")
    model.field.add(name="ir_version", number=1, type=kind.TYPE_INT64, label=kind.LABEL_OPTIONAL)
    model.field.add(
        name="opset_import",
        number=8,
        type=kind.TYPE_MESSAGE,
        type_name=".versions.OperatorSetIdProto",
        label=kind.LABEL_REPEATED,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(schema)
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName("versions.ModelProto"))
    written = message.FromString(file.read_bytes())
    opsets = [entry.version for entry in written.opset_import if not entry.domain]
    return {"opset": opsets[0], "ir_version": written.ir_version}


def read(path: Path) -> nn.GraphCell:
    """The MINDIR in ``path``; raises MindSpore's error where it is cut or is none."""
    return nn.GraphCell(ms.load(str(path / FILES["native"])))

"""mindcv's ResNet, whose strides sit in the 3x3 convolutions (v1.5), as ours do."""

from __future__ import annotations

from mindcv.models import resnet50

from backends.mindspore.programs import Training
from bench.contract import Batches, Cell, Program
from bench.dims import CnnDims

MODELS = {"cnn": "mindcv.models.resnet50"}
MISSING = {
    "transformer": "MindFormers 2.1 has no BERT, and MindNLP 0.5 asks for MindSpore 2.7 at most"
}


def build(cell: Cell, batches: Batches) -> Program:
    """The public model at the cell's dimensions, in the adapter's own training loop."""
    assert isinstance(cell.dims, CnnDims)
    return Training(cell, resnet50(num_classes=cell.dims.classes), batches)

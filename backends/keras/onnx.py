"""What tf2onnx lacks for Keras's models. Importing this registers it."""

from __future__ import annotations

from typing import Any

import numpy as np
from tf2onnx.handler import tf_op
from tf2onnx.utils import make_name


# tf2onnx 1.17.0 knows Erf only, and TensorFlow's exact GELU is written with Erfc: without this it
# leaves an operator in the file that ONNX does not have.
@tf_op("Erfc")
class Erfc:
    """``erfc(x) = 1 - erf(x)``, in float32; within 1e-7 where GELU uses it."""

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        inputs, outputs = list(node.input), list(node.output)
        kind = {"shapes": [ctx.get_shape(outputs[0])], "dtypes": [ctx.get_dtype(outputs[0])]}
        ctx.remove_node(node.name)
        one = ctx.make_const(make_name("one"), np.ones((), np.float32))
        erf = ctx.make_node("Erf", inputs, **kind)
        ctx.make_node(
            "Sub", [one.output[0], erf.output[0]], outputs=outputs, name=node.name, **kind
        )

"""Keras's built models: ``fit`` one batch at a time, and ``predict_on_batch``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from backends.keras import attention, models, optimizers, parallel, recompute
from backends.keras.engines import engine
from backends.keras.feeds import Batched
from backends.keras.inside import layers_of, layout
from backends.keras.parts import frozen
from backends.stepwise import Pause, Stepwise
from bench.contract import INPUTS, Batch, Batches, Cell, Kernel, Program, Settings

DTYPES = {"fp32": "float32", "tf32": "float32", "bf16": "bfloat16", "fp16": "float16"}
ENDLESS = 2**40  # steps in the one epoch that fit is asked for


def how(cell: Cell) -> dict[str, bool]:
    """The cell's mode in the words of ``Model.compile``. On torch run_eagerly changes nothing."""
    return {"jit_compile": cell.mode == "compiled", "run_eagerly": cell.mode == "eager"}


def inputs_of(cell: Cell, batch: Batch) -> Any:
    """The model's inputs as it takes them: images channels last, ids and mask int32."""
    if cell.model == "cnn":
        return np.ascontiguousarray(batch["image"].transpose(0, 2, 3, 1))
    # A tuple: tf.data takes a list for one tensor.
    return tuple(batch[name].astype(np.int32) for name in INPUTS[cell.model])


def place(value: Any) -> Any:
    return keras.tree.map_structure(engine().place, value)


class Inference(Program):
    """Forward passes by ``predict_on_batch``, which returns when the logits are on the host."""

    def __init__(self, cell: Cell, model: keras.Model, batches: Batches) -> None:
        self.cell = cell
        self.model = model
        self.n_params = models.count(model)
        self.inputs = [place(inputs_of(cell, batch)) for batch in batches.infer]
        self.output: np.ndarray | None = None
        self.prepare(batches)

    def prepare(self, batches: Batches) -> None:
        self.model.compile(optimizer=None, **how(self.cell))

    def infer(self, index: int) -> None:
        self.output = self.model.predict_on_batch(self.inputs[index])

    def logits(self) -> np.ndarray:
        assert self.output is not None, "infer comes first"
        return np.array(self.output, np.float32)

    def frozen(self) -> Iterator[np.ndarray]:
        engine().sync(self.model)
        for variable in frozen(layers_of(self.model)):
            yield ops.convert_to_numpy(variable.value)

    def wait(self) -> None:
        engine().wait()

    def close(self) -> None:
        self.__dict__.clear()
        models.forget()

    def facts(self) -> Settings:
        """What holds for this program, read from its objects; nothing once it is closed."""
        if not self.__dict__:
            return {}
        facts = {"jit_compile": self.model.jit_compile, "run_eagerly": self.model.run_eagerly}
        return {**facts, **layout(self.model)}


@keras.saving.register_keras_serializable()
class LastLoss(keras.Model):
    """A model that logs the loss of its last batch, where Keras logs an epoch's mean so far."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        self.metrics[0].reset_state()  # Keras's own mean of losses
        return super().compute_loss(*args, **kwargs)


class Pausing(keras.callbacks.Callback):
    """Pauses fit between two batches.

    Before a batch, not behind one: a callback there gets the logs as Python numbers, and making
    them would wait for every step.
    """

    def __init__(self, pause: Pause) -> None:
        super().__init__()
        self.pause = pause

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch:
            self.pause()


class Training(Inference):
    """Keras's own ``fit``."""

    pools = keras.backend.backend() == "tensorflow"

    def prepare(self, batches: Batches) -> None:
        model = LastLoss(self.model.input, self.model.output)
        model.compile(
            optimizer=optimizers.make(self.cell.optimizer),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            **how(self.cell),
        )
        self.model = model
        self.source = Batched(self.cell, batches.samples) if batches.samples else None
        data = self.source or engine().endless(self._placed(batches))

        def fit(pause: Pause) -> None:
            callbacks = [Pausing(pause)]
            self.model.fit(
                data, steps_per_epoch=ENDLESS, shuffle=False, verbose=0, callbacks=callbacks
            )

        self.stepwise = Stepwise(fit)

    def _placed(self, batches: Batches) -> list[Any]:
        return [
            place((inputs_of(self.cell, batch), batch["label"].astype(np.int32)))
            for batch in batches.train
        ]

    def train_step(self) -> None:
        self.stepwise.step()

    def loss(self) -> float:
        engine().sync(self.model)
        return float(self.model.get_metrics_result()["loss"])

    def infer(self, index: int) -> None:
        engine().sync(self.model)
        super().infer(index)

    def optimizer_bytes(self) -> int | None:
        alone = self.cell.world_size == 1  # else they may be in parts
        return optimizers.optimizer_bytes(self.model.optimizer) if alone else None

    def device_bytes(self) -> int | None:
        return None if self.cell.device == "cpu" else engine().device_bytes("current")

    def close(self) -> None:
        if self.__dict__:
            self.stepwise.close()
        super().close()

    def facts(self) -> Settings:
        facts = super().facts()
        if not facts:
            return facts
        optimizer = self.model.optimizer
        facts["optimizer"] = type(optimizer).__name__
        if self.source:
            facts["input"] = self.source.name
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            facts["optimizer"] += f" of {type(optimizer.inner_optimizer).__name__}"
            if optimizer.built:
                engine().sync(self.model)
                facts["loss_scale"] = float(optimizer.dynamic_scale)
        types = optimizers.dtypes(self.model, optimizer, divided=self.cell.world_size > 1)
        facts.update(attention.facts(self.cell, self.model))
        facts.update(recompute.facts(self.model, self.inputs[0]))
        return {**facts, **types, **parallel.facts(self.model)}


def matmul(cell: Cell, precision: str, n: int) -> Kernel:
    """An n x n x n matrix product in one precision."""
    random = np.random.default_rng(0).random((2, n, n), dtype=np.float32)
    left, right = (ops.cast(place(one), DTYPES[precision]) for one in random)

    def product() -> Any:
        if cell.device == "cpu":
            return ops.matmul(left, right)
        before = engine().tf32()
        engine().set_tf32(on=precision == "tf32")
        made = ops.matmul(left, right)
        engine().set_tf32(on=before)
        return made

    return Kernel(product, lambda _: engine().wait())


def stream(n: int) -> Kernel:
    """Adds 1 to n float32 numbers."""
    source = ops.ones(n)
    return Kernel(lambda: ops.add(source, 1.0), lambda _: engine().wait())

"""The whole training step as one function, which ``ms.jit`` can compile."""

from __future__ import annotations

from collections.abc import Callable

import mindspore as ms
from mindspore import Tensor, amp, nn

Step = Callable[..., tuple[Tensor, Tensor]]
"""(label, *inputs) -> the mean loss before the update, and the last of the gradients."""


def step(
    model: nn.Cell,
    update: nn.Cell,
    *,
    compiled: bool,
    reducer: nn.Cell | None = None,
    scaler: amp.LossScaler | None = None,
) -> Step:
    """reducer: makes the gradients those of all processes. scaler: of the loss, for float16."""
    # nn.CrossEntropyLoss is composed of reductions and broadcasts, and takes 16 times as long.
    criterion = nn.SoftmaxCrossEntropyWithLogits(sparse=True, reduction="mean")

    def loss(label: Tensor, *inputs: Tensor) -> Tensor:
        logits = model(*inputs)
        if label.ndim > 1:  # of text: the mean over all of its tokens
            logits, label = logits.reshape(-1, logits.shape[-1]), label.reshape(-1)
        value = criterion(logits, label)
        return value if scaler is None else scaler.scale(value)

    weights = update.parameters
    gradient = ms.value_and_grad(loss, None, weights)

    def train(label: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        value, gradients = gradient(label, *inputs)
        update(gradients if reducer is None else reducer(gradients))
        return value, gradients[-1]

    def train_scaled(label: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        scaled, gradients = gradient(label, *inputs)
        if reducer is not None:
            gradients = reducer(gradients)
        finite = amp.all_finite(gradients)
        if finite:
            update(scaler.unscale(gradients))
        value = scaler.unscale(scaled)
        scaler.adjust(finite)
        return value, gradients[-1]

    whole = train if scaler is None else train_scaled
    return ms.jit(whole) if compiled else whole

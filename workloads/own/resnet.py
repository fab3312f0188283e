"""Residual networks as torchvision (and timm) name their tensors, or Hugging Face's transformers.

Sources: torchvision/models/resnet.py; transformers/models/resnet/modeling_resnet.py, whose
bottleneck has its stride in the 3 x 3 convolution as torchvision's has (v1.5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from workloads.weights import HEADS, Shapes

PLAIN = re.compile(r"resnet(18|34|50|101|152)(\..*)?")
"""Of timm's architectures, those without a change that no tensor shows."""
ONLY = {
    "model_type": "resnet",
    "hidden_act": "relu",
    "downsample_in_first_stage": False,
    "downsample_in_bottleneck": False,
}
"""What these keys have to be, where they are there: anything else is another function."""
COUNTER = "num_batches_tracked"
STEMS = {3: "3x3", 7: "7x7"}
PARTS = {"convolution": "conv", "normalization": "bn"}
HUGGING_FACE = (
    (r"embedder\.embedder\.(convolution|normalization)\.(\w+)", "{0}1.{1}"),
    (
        r"encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.(\d+)\.(convolution|normalization)\.(\w+)",
        "layer{0}.{1}.{3}{2}.{4}",
    ),
    (
        r"encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.(convolution|normalization)\.(\w+)",
        "layer{0}.{1}.downsample.{2}.{3}",
    ),
    (r"classifier\.1\.(weight|bias)", "fc.{0}"),
)


def dims(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """All but ``image``, the epsilon and the momentum; ``classes`` where there is a classifier."""
    for key, known in ONLY.items():
        if config.get(key, known) != known:
            raise ValueError(
                f"{key} is {config[key]!r} in config.json: only {known!r} is understood"
            )
    name = str(config.get("architecture", "resnet50"))
    if not PLAIN.fullmatch(name):
        raise ValueError(f"architecture is {name!r} in config.json: a plain ResNet is understood")
    stem = shapes.get("conv1.weight", ())
    if len(stem) != 4 or stem[-1] not in STEMS or "layer1.0.conv1.weight" not in shapes:
        raise ValueError(
            "its tensors have neither torchvision's names (conv1.weight with 3 x 3 or 7 x 7, "
            "layer1.0.conv1.weight, ...) nor those of Hugging Face's ResNet"
        )
    stages = sorted({int(at[1]) for key in shapes if (at := re.match(r"layer(\d+)\.", key))})
    found: dict[str, Any] = {
        "channels": stem[1],
        "stem": STEMS[stem[-1]],
        "widths": [shapes.get(f"layer{stage}.0.conv1.weight", (0,))[0] for stage in stages],
        "blocks": [_blocks(shapes, stage) for stage in stages],
        "bottleneck": "layer1.0.conv3.weight" in shapes,
    }
    if classifier := shapes.get(HEADS["cnn"][0]):
        found["classes"] = classifier[0]
    return found


def _blocks(shapes: Shapes, stage: int) -> int:
    return len({key for key in shapes if re.fullmatch(rf"layer{stage}\.\d+\.conv1\.weight", key)})


def canonical(name: str) -> str | None:
    if name.rpartition(".")[2] == COUNTER:
        return None
    for pattern, ours in HUGGING_FACE:
        if found := re.fullmatch(rf"(?:resnet\.)?{pattern}", name):
            return _translated(found.groups(), ours)
    return name


def _translated(parts: tuple[str, ...], ours: str) -> str:
    """Theirs are counted from 0, stages and convolutions of ours from 1, blocks from 0."""
    where = list(parts)
    if ours.startswith("layer"):
        where[0] = str(int(where[0]) + 1)
        if "downsample" in ours:
            where[2] = str([*PARTS].index(where[2]))
        else:
            where[2], where[3] = str(int(where[2]) + 1), PARTS[where[3]]
    elif where[0] in PARTS:
        where[0] = PARTS[where[0]]
    return ours.format(*where)

"""BERT as Hugging Face's transformers names it: BertModel, BertForSequenceClassification.

Sources: transformers/models/bert/configuration_bert.py and modeling_bert.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from workloads.weights import HEADS, Shapes

KEYS = {
    "vocab": "vocab_size",
    "positions": "max_position_embeddings",
    "types": "type_vocab_size",
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "ffn": "intermediate_size",
}
ONLY = {
    "model_type": "bert",  # RoBERTa, say, has the same tensors and counts positions from 2
    "hidden_act": "gelu",  # by the error function, as ours
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
"""What these keys have to be, where they are there: anything else is another function."""
LN_EPS = 1e-12  # BertConfig's
HARMLESS = re.compile(r"cls\..*|embeddings\.(position_ids|token_type_ids)")
"""Heads of the pretraining, and counters that older versions saved."""
OLD = {"gamma": "weight", "beta": "bias"}
"""Of a LayerNorm, in files that were converted from the first TensorFlow checkpoints."""


def dims(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    """All but ``sequence``, and ``classes`` where there is a classifier."""
    if not config:
        raise ValueError("there is no config.json, which says how the tensors are used")
    for key, known in ONLY.items():
        if config.get(key, known) != known:
            raise ValueError(
                f"{key} is {config[key]!r} in config.json: only {known!r} is understood"
            )
    if absent := [key for key in KEYS.values() if key not in config]:
        raise ValueError(f"config.json has no {absent[0]}")
    found = {ours: config[theirs] for ours, theirs in KEYS.items()}
    found["ln_eps"] = config.get("layer_norm_eps", LN_EPS)
    if classifier := shapes.get(HEADS["transformer"][0]):
        found["classes"] = classifier[0]
    return found


def canonical(name: str) -> str | None:
    name = name.removeprefix("bert.")
    if HARMLESS.fullmatch(name):
        return None
    start, _, last = name.rpartition(".")
    return f"{start}.{OLD.get(last, last)}" if start.endswith("LayerNorm") else name

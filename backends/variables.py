"""Environment variables that frameworks read when they start, with the reasons."""

from __future__ import annotations

JAX_ENV = {
    # Everything is kept, however quickly it compiled: else a second process compiles anew.
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
JAX_DEVICES = {
    # Without it JAX falls back to the CPU where it cannot start a device, with a warning only.
    **{kind: {"JAX_PLATFORMS": f"{kind},cpu"} for kind in ("cuda", "rocm", "tpu")},
    "cpu": {"JAX_PLATFORMS": "cpu"},
}
# JAX takes 75 % of a GPU's memory at its first operation, TensorFlow nearly all of it.
JAX_GROWS = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
TENSORFLOW_GROWS = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}
DEEPSPEED_DEVICES = {"cpu": "cpu", "cuda": "cuda", "rocm": "cuda"}
TENSORFLOW_ENV = {"TF_CPP_MIN_LOG_LEVEL": "2"}  # its start-up notes on standard error

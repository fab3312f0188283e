"""The backends, as data. Nothing here imports a framework, so ``--help`` stays light.

A third party adds a backend through the entry-point group ``bench.backends``: an entry point
named after the backend that loads an ``Entry``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Entry:
    """One backend. What stands here the plan answers for, so no adapter has to.

    module: dotted name of the adapter, imported only by a worker.
    python: the interpreter its lock was made for.
    locks: devices that have a lock file ``locks/<backend>-<device>.txt``.
    modes: the modes it has; the first is its usual one (``default``).
    usual: where another mode is usual under a setting, written ``key=value``: that mode.
    imports: what the health check of an environment imports.
    formats: export formats -> the backend that reads them back.
    settings: keys of ``--setting`` that its adapter knows -> the values each takes; () for any.
    cache_dirs: environment variables that name its compile caches; each cell gets fresh ones.
    env: variables that its processes always need, with the reason in a comment at the entry.
    setting_env: setting -> the variable that carries it, for what is read at import.
    tuned_env: variables that the tuned track sets.
    fallbacks: lock to use instead where a lock's packages cannot be found.
    sources: distributions that exist as source only and are built with the environment.
    prepare: module that is run once in a new environment, such as to compile operators.
    public: module of the framework's own public models, which ``bench fairness`` measures against.
    public_lock: the lock whose packages have them.
    archived: since when its upstream is archived; every table and row says so.
    distribution: its name on the package index, where that is not the backend's.
    """

    module: str
    python: str
    locks: tuple[str, ...]
    modes: tuple[str, ...]
    imports: tuple[str, ...]
    formats: Mapping[str, str]
    usual: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cache_dirs: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    setting_env: Mapping[str, str] = field(default_factory=dict)
    tuned_env: Mapping[str, str] = field(default_factory=dict)
    fallbacks: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    prepare: str = ""
    public: str = ""
    public_lock: str = "cpu"
    archived: str = ""
    distribution: str = ""


JAX_ENV = {
    # Everything is kept, however quickly it compiled: else a second process compiles anew.
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
TENSORFLOW_ENV = {"TF_CPP_MIN_LOG_LEVEL": "2"}  # its start-up notes on standard error

BACKENDS: Mapping[str, Entry] = MappingProxyType(
    {
        "torch": Entry(
            "backends.torch.adapter",
            python="3.11",
            locks=("cpu", "cuda"),
            modes=("eager", "compiled"),
            imports=("torch", "onnxscript"),
            formats={"onnx": "onnxruntime", "native": "torch"},
            cache_dirs=("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"),
            # The plain index carries the CUDA build only; it runs on a CPU too, at some 3 GB.
            fallbacks={"cpu": "cuda"},
            public="backends.torch.public",
            public_lock="public",
        ),
        "tensorflow": Entry(
            "backends.tensorflow.adapter",
            python="3.11",
            locks=("cpu",),
            modes=("graph", "compiled", "eager"),
            imports=("tensorflow", "tf2onnx", "ai_edge_litert"),
            formats={"onnx": "onnxruntime", "native": "tensorflow", "tflite": "tensorflow"},
            env=TENSORFLOW_ENV,
            public="backends.tensorflow.public",
            public_lock="public",
        ),
        "jax": Entry(
            "backends.jax.adapter",
            python="3.11",
            locks=("cpu",),
            modes=("compiled",),
            imports=("jax", "flax", "optax", "jax2onnx"),
            formats={"onnx": "onnxruntime", "native": "jax"},
            cache_dirs=("JAX_COMPILATION_CACHE_DIR",),
            env=JAX_ENV,
            public="backends.jax.public",
        ),
        "keras": Entry(
            "backends.keras.adapter",
            python="3.11",
            locks=("cpu",),
            modes=("compiled", "graph", "eager"),
            usual={"keras_backend=tensorflow": "graph", "keras_backend=torch": "eager"},
            imports=("jax", "torch", "tensorflow", "greenlet"),
            formats={"onnx": "onnxruntime", "native": "keras"},
            settings={"keras_backend": ("jax", "tensorflow", "torch")},
            cache_dirs=("JAX_COMPILATION_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"),
            env={**JAX_ENV, **TENSORFLOW_ENV, "KERAS_BACKEND": "jax"},
            setting_env={"keras_backend": "KERAS_BACKEND"},
            public="backends.keras.public",
            public_lock="public",
        ),
        "lightning": Entry(
            "backends.lightning.adapter",
            python="3.11",
            locks=("cpu",),
            modes=("eager", "compiled"),
            imports=("lightning", "greenlet", "onnxscript"),
            formats={"onnx": "onnxruntime", "native": "lightning"},
            cache_dirs=("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"),
        ),
        "deepspeed": Entry(
            "backends.deepspeed.adapter",
            python="3.11",
            locks=("cpu",),
            modes=("eager", "compiled"),
            imports=("deepspeed", "onnxscript"),
            formats={"onnx": "onnxruntime", "native": "deepspeed"},
            settings={"zero_stage": ("0", "1", "2", "3")},
            cache_dirs=("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"),
            env={"DS_ACCELERATOR": "cpu"},
            sources=("deepspeed",),
            prepare="backends.deepspeed.ops",
        ),
        "mxnet": Entry(
            "backends.mxnet.adapter",
            python="3.11",
            locks=("cpu",),
            modes=("compiled", "eager"),
            imports=("mxnet", "onnx"),
            formats={"onnx": "onnxruntime", "native": "mxnet"},
            sources=("gluonnlp",),
            public="backends.mxnet.public",
            public_lock="public",
            archived="2023-11",
        ),
        "paddle": Entry(
            "backends.paddle.adapter",
            python="3.11",
            locks=("cpu",),
            modes=("eager", "compiled"),
            imports=("paddle", "paddle2onnx"),
            formats={"onnx": "onnxruntime", "native": "paddle"},
            sources=("jieba", "seqeval"),  # PaddleNLP's
            public="backends.paddle.public",
            distribution="paddlepaddle",
            public_lock="public",
        ),
        "mindspore": Entry(
            "backends.mindspore.adapter",
            python="3.11",
            locks=("cpu",),
            modes=("eager", "compiled"),
            imports=("mindspore",),
            formats={"onnx": "onnxruntime", "native": "mindspore"},
            env={"GLOG_v": "3"},  # errors only; it would log every operator that it cannot fuse
            # On AVX-512 hosts its oneDNN picks a reference kernel for 3x3 convolutions
            # (jit_uni_ncsp:conv+ref:any), 100 times slower than what it has for AVX2.
            tuned_env={"DNNL_MAX_CPU_ISA": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
            public="backends.mindspore.public",
            public_lock="public",
        ),
        "onnxruntime": Entry(
            "backends.onnxruntime.adapter",
            python="3.11",
            locks=("cpu",),
            modes=("compiled",),
            imports=("onnxruntime", "onnx"),
            formats={"onnx": "onnxruntime"},
            settings={"quantization": ("dynamic", "static"), "spinning": ("on", "off")},
        ),
    }
)

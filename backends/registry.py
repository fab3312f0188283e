"""The backends, as data. Nothing here imports a framework, so ``--help`` stays light."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from backends.entry import Entry
from backends.variables import (
    DEEPSPEED_DEVICES,
    JAX_DEVICES,
    JAX_ENV,
    JAX_GROWS,
    TENSORFLOW_ENV,
    TENSORFLOW_GROWS,
)
from bench.pipeline import INPUT, PIPELINE

SOURCE_ONLY = "its release has no wheel on the package index"
TORCH_ROCM = "its ROCm build is on PyTorch's own index only"
FED = {INPUT: (PIPELINE,)}  # by its own input pipeline, and not from the device
RECOMPUTE = {"recompute": ("on",)}  # activation checkpointing
SYNCHRONISED = {"batchnorm": ("synchronised",)}  # its statistics are of all devices' samples
TRAINING = {**FED, **RECOMPUTE, **SYNCHRONISED}

BACKENDS: Mapping[str, Entry] = MappingProxyType(
    {
        "torch": Entry(
            "backends.torch.adapter",
            modules=True,
            locks=("cpu", "cuda"),
            unlocked={"rocm": TORCH_ROCM},
            capabilities="backends.torch.capabilities",
            generates="backends.torch.generation",
            rank_env="RANK",
            modes=("eager", "compiled"),
            imports=("torch", "onnxscript"),
            formats={"onnx": "onnxruntime", "native": "torch"},
            settings={"cuda_graphs": ("on",), **TRAINING},
            cache_dirs=("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"),
            # The plain index carries the CUDA build only; it runs on a CPU too, at some 3 GB.
            fallbacks={"cpu": "cuda"},
            public="backends.torch.public",
            public_lock="public",
        ),
        "tensorflow": Entry(
            "backends.tensorflow.adapter",
            capabilities="backends.tensorflow.capabilities",
            generates="backends.tensorflow.generation",
            locks=("cpu", "cuda"),
            unlocked={"rocm": "tensorflow-rocm ended in 2024"},
            modes=("graph", "compiled", "eager"),
            imports=("tensorflow", "tf2onnx", "ai_edge_litert"),
            formats={"onnx": "onnxruntime", "native": "tensorflow", "tflite": "tensorflow"},
            settings=TRAINING,
            env=TENSORFLOW_ENV,
            preallocation=TENSORFLOW_GROWS,
            public="backends.tensorflow.public",
            public_lock="public",
        ),
        "jax": Entry(
            "backends.jax.adapter",
            capabilities="backends.jax.capabilities",
            generates="backends.jax.generation",
            locks=("cpu", "cuda", "rocm", "tpu"),
            modes=("compiled",),
            imports=("jax", "flax", "optax", "jax2onnx"),
            formats={"onnx": "onnxruntime", "native": "jax"},
            settings=TRAINING,
            cache_dirs=("JAX_COMPILATION_CACHE_DIR",),
            env=JAX_ENV,
            device_env=JAX_DEVICES,
            preallocation=JAX_GROWS,
            public="backends.jax.public",
        ),
        "keras": Entry(
            "backends.keras.adapter",
            capabilities="backends.keras.capabilities",
            generates="backends.keras.generation",
            locks=("cpu", "cuda"),
            modes=("compiled", "graph", "eager"),
            usual={"keras_backend=tensorflow": "graph", "keras_backend=torch": "eager"},
            imports=("jax", "torch", "tensorflow", "greenlet"),
            formats={"onnx": "onnxruntime", "native": "keras"},
            settings={"keras_backend": ("jax", "tensorflow", "torch"), **TRAINING},
            cache_dirs=("JAX_COMPILATION_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"),
            env={**JAX_ENV, **TENSORFLOW_ENV, "KERAS_BACKEND": "jax"},
            device_env=JAX_DEVICES,
            setting_env={"keras_backend": "KERAS_BACKEND"},
            preallocation={**JAX_GROWS, **TENSORFLOW_GROWS},
            no_pool=("keras_backend=torch",),
            public="backends.keras.public",
            public_lock="public",
        ),
        "lightning": Entry(
            "backends.lightning.adapter",
            modules=True,
            capabilities="backends.lightning.capabilities",
            generates="backends.lightning.generation",
            rank_env="RANK",
            locks=("cpu", "cuda"),
            unlocked={"rocm": TORCH_ROCM},
            modes=("eager", "compiled"),
            imports=("lightning", "greenlet", "onnxscript"),
            formats={"onnx": "onnxruntime", "native": "lightning"},
            settings=TRAINING,
            cache_dirs=("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"),
        ),
        "deepspeed": Entry(
            "backends.deepspeed.adapter",
            modules=True,
            capabilities="backends.deepspeed.capabilities",
            generates="backends.deepspeed.generation",
            rank_env="RANK",
            locks=("cpu", "cuda"),
            unlocked={"rocm": TORCH_ROCM},
            modes=("eager", "compiled"),
            imports=("deepspeed", "onnxscript"),
            formats={"onnx": "onnxruntime", "native": "deepspeed"},
            settings={"zero_stage": ("0", "1", "2", "3"), **TRAINING},
            cache_dirs=("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"),
            device_env={kind: {"DS_ACCELERATOR": name} for kind, name in DEEPSPEED_DEVICES.items()},
            sources={"deepspeed": SOURCE_ONLY},
            prepare="backends.deepspeed.ops",
        ),
        "mxnet": Entry(
            "backends.mxnet.adapter",
            capabilities="backends.mxnet.capabilities",
            generates="backends.mxnet.generation",
            locks=("cpu",),
            unlocked={"cuda": "its newest build on the index wants CUDA 11.2, and brings none"},
            modes=("compiled", "eager"),
            imports=("mxnet", "onnx"),
            # cuDNN would multiply float32 in TF32, and MXNet has no switch for it.
            device_env={"cuda": {"NVIDIA_TF32_OVERRIDE": "0"}},
            formats={"onnx": "onnxruntime", "native": "mxnet"},
            settings={**FED, **RECOMPUTE},
            sources={"gluonnlp": SOURCE_ONLY},
            public="backends.mxnet.public",
            public_lock="public",
            archived="2023-11",
        ),
        "paddle": Entry(
            "backends.paddle.adapter",
            capabilities="backends.paddle.capabilities",
            generates="backends.paddle.generation",
            rank_env="PADDLE_TRAINER_ID",
            locks=("cpu",),
            unlocked={
                "cuda": "paddlepaddle-gpu ended at 2.6.2 on the package index; newer ones are on"
                " Paddle's own",
                "rocm": "its ROCm build is on Paddle's own index only",
            },
            modes=("eager", "compiled"),
            imports=("paddle", "paddle2onnx"),
            formats={"onnx": "onnxruntime", "native": "paddle"},
            settings=TRAINING,
            sources=dict.fromkeys(("jieba", "seqeval"), f"PaddleNLP asks for it; {SOURCE_ONLY}"),
            public="backends.paddle.public",
            distribution="paddlepaddle",
            public_lock="public",
        ),
        "mindspore": Entry(
            "backends.mindspore.adapter",
            capabilities="backends.mindspore.capabilities",
            generates="backends.mindspore.generation",
            rank_env="RANK_ID",
            locks=("cpu",),
            unlocked={"cuda": "mindspore-gpu ended at 1.10.0 on the package index"},
            modes=("eager", "compiled"),
            imports=("mindspore",),
            formats={"onnx": "onnxruntime", "native": "mindspore"},
            settings={**FED, **RECOMPUTE},
            env={"GLOG_v": "3"},  # errors only; it would log every operator that it cannot fuse
            # On AVX-512 hosts its oneDNN picks a reference kernel for 3x3 convolutions
            # (jit_uni_ncsp:conv+ref:any), 100 times slower than what it has for AVX2.
            tuned_env={"DNNL_MAX_CPU_ISA": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
            public="backends.mindspore.public",
            public_lock="public",
        ),
        "onnxruntime": Entry(
            "backends.onnxruntime.adapter",
            capabilities="backends.onnxruntime.capabilities",
            generates="backends.onnxruntime.generation",
            serves="backends.onnxruntime.serving",
            trains=False,
            locks=("cpu", "cuda"),
            unlocked={"rocm": "its builds for ROCm are on AMD's own index only"},
            modes=("compiled",),
            imports=("onnxruntime", "onnx"),
            formats={"onnx": "onnxruntime"},
            settings={"quantization": ("dynamic", "static"), "spinning": ("on", "off")},
        ),
    }
)

"""The columns of a results file, as data; ``results/SCHEMA.md`` is made from this table.

Parent half, stdlib only. Order and spelling of ``FIXED`` are a promise to everyone who reads the
files: they never change within a schema version. New columns are appended to ``FURTHER``.
"""

from __future__ import annotations

from bench.rows.column import Column
from bench.rows.further import FURTHER

VERSION = 1

STATUSES = (
    "ok",
    "unsupported",
    "parity_failed",
    "failed",
    "oom",
    "crashed",
    "timeout",
    "env_failed",
    "interrupted",
)
PARITIES = ("passed", "failed")
RUNGS = ("none", "exported", "checked", "loaded", "numerics", "dynamic_batch", "latency")
CACHES = ("cold", "warm")


_IDENTITY = (
    Column("schema", "int", "", f"version of this table of columns; now {VERSION}"),
    Column("run_id", "text", "", "the run (one `bench run`, resumed or not) that made the row"),
    Column("cell_id", "text", "", "the cell's stable id, from the columns backend to world_size"),
    Column("repeat", "int", "", "which fresh process of this cell, counted within the run"),
    Column("started_at", "time", "UTC", "when the cell's process was started; parent's clock"),
    Column("cluster", "text", "", "name given with `--cluster`; empty for a local run"),
    Column("host", "text", "", "node name that the kernel reports (uname)"),
    Column("backend", "text", "", "framework behind one adapter; a name of the registry"),
    Column(
        "backend_version", "text", "", "version of the adapter's distribution, from its metadata"
    ),
    Column(
        "workload",
        "text",
        "",
        "what was run: cnn, transformer, llm, lora, generate, export, module or capability",
    ),
    Column("model", "text", "", "the network: cnn, transformer, decoder, lora or module"),
    Column("size", "text", "", "tiny, small, base or large"),
    Column("device", "text", "", "kind of device that was used: cpu, cuda, rocm or tpu"),
    Column("device_name", "text", "", "the device's model name, from the driver or /proc/cpuinfo"),
    Column("precision", "text", "", "declared arithmetic: fp32, tf32, bf16, fp16 or int8"),
    Column("mode", "text", "", "eager, graph (traced, but no compiler) or compiled"),
    Column("track", "text", "", "out-of-box or tuned; never mixed in one comparison"),
    Column("batch", "int", "samples", "batch of one process; the step handles batch x world_size"),
    Column("world_size", "int", "processes", "processes that train together; one device each"),
)

_OUTCOME = (
    Column("status", "text", "", f"how the cell ended: {', '.join(STATUSES)}"),
    Column("reason", "text", "", "the same in words; never empty unless the status is ok"),
)

_SPEED = (
    Column(
        "samples_per_s",
        "float",
        "samples/s",
        "training throughput of all processes together, from the median timed block"
        " (k steps between two waits); export rows leave it empty",
    ),
    Column(
        "step_ms_p50",
        "float",
        "ms",
        "median latency of one training step; steps measured apart from the blocks, each waited"
        " for, so on an accelerator it holds a synchronisation that the throughput does not",
    ),
    Column(
        "step_ms_p95", "float", "ms", "95th percentile of the same steps (linear interpolation)"
    ),
    Column("step_ms_p99", "float", "ms", "99th percentile of the same steps"),
    Column("steps", "int", "steps", "training steps inside the timed blocks"),
    Column("warmup_steps", "int", "steps", "steps run until steady, or until the cap; not timed"),
    Column("import_s", "float", "s", "importing the framework; worker's clock"),
    Column(
        "build_s",
        "float",
        "s",
        "model, optimizer and batches on the device; on an export row reading the file back, its"
        " checks included",
    ),
    Column(
        "compile_s",
        "float",
        "s",
        "first step less a steady step, where a step compiles; the cache's state is compile_cache",
    ),
    Column("first_step_s", "float", "s", "the very first training step, waited for"),
    Column(
        "peak_host_mib",
        "float",
        "MiB",
        "most host memory of the process tree: the larger of the worker's VmHWM (/proc) and the"
        " highest summed PSS of the tree (smaps_rollup) that was sampled; never ru_maxrss",
    ),
    Column(
        "baseline_host_mib",
        "float",
        "MiB",
        "the worker's VmRSS right after importing the framework: what the framework costs alone",
    ),
    Column("peak_device_mib", "float", "MiB", "most device memory, as the framework counts it"),
    Column(
        "flops_per_sample",
        "int",
        "FLOP",
        "2 x multiply-adds of convolutions, dense layers and attention products, from the model's"
        " dimensions, or as PyTorch counts them where the module is the user's own; training counts"
        " three forward passes",
    ),
    Column(
        "tflops",
        "float",
        "TFLOP/s",
        "flops_per_sample x throughput / 1e12, of all processes together; the throughput is"
        " infer_samples_per_s on an export row",
    ),
    Column(
        "mfu",
        "float",
        "1",
        "tflops / (gemm_tflops x world_size): the share of what a plain matrix product reaches",
    ),
    Column(
        "precision_honest",
        "bool",
        "",
        "false: faster than 1.1 x gemm_tflops x world_size, so hardly in the declared precision;"
        " empty where either rate is unknown",
    ),
)

_PARITY = (
    Column("param_count", "int", "parameters", "trainable parameters of the built model"),
    Column(
        "parity", "text", "", "the gate before the clock: passed, failed, or empty (not reached)"
    ),
    Column(
        "parity_logits_err",
        "float",
        "1",
        "largest relative difference of the logits from the float64 reference's",
    ),
    Column(
        "parity_loss_err",
        "float",
        "1",
        "largest relative difference of the gate's five training losses from the reference's",
    ),
    Column("loss_first", "float", "nats", "training loss of the gate's first step"),
    Column(
        "loss_last",
        "float",
        "nats",
        "training loss of the gate's last step; with `--quality` of the last quality step",
    ),
)

_EXPORT = (
    Column("export_format", "text", "", "onnx or native; empty on a training row"),
    Column("export_rung", "text", "", f"rung of the ladder reached: {', '.join(RUNGS)}"),
    Column("export_s", "float", "s", "writing the file, the exporter's tracing included"),
    Column("export_mib", "float", "MiB", "size of what was written, external data included"),
    Column(
        "export_max_abs_err",
        "float",
        "logits",
        "largest absolute difference of the file's logits from the exporting framework's own",
    ),
    Column("infer_ms_p50", "float", "ms", "median latency of one inference call; measured apart"),
    Column("infer_ms_p95", "float", "ms", "95th percentile of the same calls"),
    Column("infer_ms_p99", "float", "ms", "99th percentile of the same calls"),
    Column(
        "infer_samples_per_s", "float", "samples/s", "inference throughput, from the timed blocks"
    ),
)

_MACHINE = (
    Column(
        "energy_j",
        "float",
        "J",
        "energy of the timed blocks; energy_source says how it was obtained",
    ),
    Column("threads", "int", "threads", "threads of the framework, read back from it"),
    Column("load1", "float", "processes", "1-minute load average when the cell started (/proc)"),
    Column("driver", "text", "", "version of the device's driver"),
    Column(
        "env_lock",
        "text",
        "",
        "hash of the environment's lock, or the fingerprint of the packages of a brought one",
    ),
    Column("env_python", "text", "", "version of the interpreter that ran the backend"),
    Column(
        "settings",
        "json",
        "",
        "what was in force, read back from the framework; `dtypes`: types of the parameters, of a"
        " product (compute), of gradients as devices add them up (reduce), of moments (optimizer)",
    ),
    Column("git_rev", "text", "", "commit of this program; `-dirty` after it: with local changes"),
)

FIXED = _IDENTITY + _OUTCOME + _SPEED + _PARITY + _EXPORT + _MACHINE
COLUMNS = FIXED + FURTHER
BY_NAME = {column.name: column for column in COLUMNS}

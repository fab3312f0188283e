"""The columns after the fixed ones, in the order in which they came; new ones go to the end."""

from __future__ import annotations

from bench.rows.column import Column

FURTHER = (
    Column("wall_s", "float", "s", "the whole cell, from starting its process to reaping it"),
    Column("parity_s", "float", "s", "the parity gate; it may hold the first step"),
    Column("warmup_s", "float", "s", "warming up"),
    Column(
        "measure_s", "float", "s", "timed blocks, latency steps and the machine's rates together"
    ),
    Column(
        "measure_peak_host_mib",
        "float",
        "MiB",
        "the worker's VmHWM since it was reset after warming up: the peak of steady work",
    ),
    Column(
        "tokens_per_s",
        "float",
        "tokens/s",
        "text only: tokens handled, padding included; of generate those that were generated",
    ),
    Column("real_tokens_per_s", "float", "tokens/s", "text only: tokens handled without padding"),
    Column("compile_cache", "text", "", "cold: fresh cache folders; warm: a second process's"),
    Column("accuracy", "float", "1", "held-out accuracy after quality training, or of the file"),
    Column("accuracy_start", "float", "1", "held-out accuracy before quality training"),
    Column("accuracy_reference", "float", "1", "the float64 reference's on the same samples"),
    Column("quality_steps", "int", "steps", "training steps of `--quality`"),
    Column(
        "gemm_tflops",
        "float",
        "TFLOP/s",
        "one process's square matrix product in the declared precision, best size and time;"
        " measured by the same worker",
    ),
    Column(
        "device_tflops",
        "float",
        "TFLOP/s",
        "the same product in the fastest floating-point precision that the backend offers",
    ),
    Column(
        "memory_gb_s",
        "float",
        "GB/s",
        "read and written by one process that adds 1 to 2^24 float32 numbers or more, best of 5;"
        " where the framework allocates the result, that too",
    ),
    Column(
        "launch_us",
        "float",
        "us",
        "median time of the same addition to a single number, waited for",
    ),
    Column("infer_steps", "int", "calls", "inference calls inside the timed blocks"),
    Column(
        "archived",
        "text",
        "",
        "since when the framework's upstream is archived; empty while it is maintained",
    ),
    Column(
        "schedule",
        "text",
        "",
        "how the run's cells lay in time: baton (turns, block by block), interleaved, sequential",
    ),
    Column("seed", "int", "", "seed of the run's order"),
    Column("fleet", "text", "", "the workers that took turns with this one have the same"),
    Column(
        "idle_cpu",
        "float",
        "1",
        "in a fleet: CPU seconds of this worker a second in which another had its turn; what spins"
        " while it waits disturbs the others",
    ),
    Column("capability", "text", "", "the question of a row of that workload; else empty"),
    Column(
        "peak_driver_mib",
        "float",
        "MiB",
        "most device memory of the cell's processes that was seen between commands, as the driver"
        " counts it; where it tells no process apart, how much more of the device was in use; of a"
        " framework with a pool, of a second process without it",
    ),
    Column(
        "context_mib",
        "float",
        "MiB",
        "the same once the framework has started on the device and before there is a model: its"
        " context and its libraries",
    ),
    Column(
        "energy_above_idle_j",
        "float",
        "J",
        "energy_j less what the devices draw while nothing runs, over the timed blocks; idle is the"
        " least that the run has seen before a cell",
    ),
    Column(
        "accelerators",
        "json",
        "",
        "each device: name, memory, driver, ECC, partition; clocks, power, temperature, throttling"
        " and processes before the cell and right after its last timed block (NVML, AMD SMI)",
    ),
    Column(
        "allreduce_ms",
        "float",
        "ms",
        "more than one device: median time of one sum over them of as many float32 numbers as there"
        " are parameters; what sharing the gradients costs where no computing hides it",
    ),
    Column(
        "ranks",
        "json",
        "",
        "each process of a cell that has several: step_ms (its own median block), peak_host_mib,"
        " peak_device_mib; samples_per_s is by the slowest, block by block",
    ),
    Column("slowest_rank", "int", "", "which of them has the largest step_ms; 0 is the first"),
    Column(
        "energy_source",
        "text",
        "",
        "counter: energy_j is a difference of the device's own counter; power: the device has none,"
        " and its power, read ten times a second, was integrated; empty without energy_j",
    ),
    Column(
        "pool_driver_mib",
        "float",
        "MiB",
        "as peak_driver_mib, of the timed process of a framework that takes memory in advance;"
        " settings.preallocation says which process did",
    ),
    Column(
        "trial",
        "text",
        "",
        "what a row tries that times nothing: batch (has it memory for it), parity, wait, memory;"
        " empty on all others; what compares leaves such rows out",
    ),
    Column("target_accuracy", "float", "1", "held-out accuracy that `--target` asked for"),
    Column("target_found", "float", "1", "the accuracy of the last evaluation on the way to it"),
    Column(
        "target_s",
        "float",
        "s",
        "training until an evaluation found it, the first step's compile included, evaluations not;"
        " there are 20 in as many steps as `--quality` trains; empty where it was not reached in"
        " four times as many",
    ),
    Column("target_samples", "int", "samples", "those trained with until then, repeats too"),
    Column(
        "target_compile_s",
        "float",
        "s",
        "of target_s: what the first step took longer than the median of the later ones",
    ),
    Column(
        "load_s",
        "float",
        "s",
        "export rows: loading the file and having its first answer, in the fresh process that"
        " serves it; the file is in the system's cache",
    ),
    Column("serve_import_s", "float", "s", "export rows: importing the framework in that process"),
    Column(
        "ttft_ms_p50",
        "float",
        "ms",
        "generate rows: time to first token, from the whole batch of prompts to the tokens on the"
        " host; median",
    ),
    Column("ttft_ms_p99", "float", "ms", "99th percentile of the same"),
    Column(
        "itl_ms_p50",
        "float",
        "ms",
        "generate rows: inter-token latency, from one token of every prompt on the host to the"
        " next; median",
    ),
    Column("itl_ms_p99", "float", "ms", "99th percentile of the same"),
    Column(
        "decode_tokens_per_s",
        "float",
        "tokens/s",
        "generate rows: tokens of all prompts a second, after the first; tokens_per_s has the"
        " prompts' time in it",
    ),
    Column(
        "cache_bytes_per_token",
        "float",
        "bytes",
        "generate rows: allocated for the keys and values of a token of one prompt",
    ),
    Column(
        "cache_bytes_formula",
        "int",
        "bytes",
        "2 x layers x kv_heads x width of a head x bytes of a number: what they need",
    ),
    Column(
        "tokens_equal",
        "float",
        "1",
        "generate rows: leading tokens that equal the float64 reference's, of 32, mean over the"
        " prompts; 1 in fp32, or the gate fails",
    ),
    Column(
        "optimizer_mib",
        "float",
        "MiB",
        "training rows: what the optimizer keeps of every parameter, on one device",
    ),
    Column(
        "activation_mib",
        "float",
        "MiB",
        "training rows: the most that a step holds above what stays between two steps, which is"
        " activations, work space, and gradients where they do not stay; on a CPU of the resident"
        " set after free memory was given back, empty where the framework keeps a pool; on a device"
        " the framework's peak less what is in use",
    ),
    Column(
        "others_share",
        "float",
        "1",
        "share of the allowed CPUs that other processes used while the blocks were timed"
        " (/proc/stat less the cell's own); empty where that was less than 1 s",
    ),
    Column(
        "stolen_share",
        "float",
        "1",
        "share that the host's other virtual machines took meanwhile (/proc/stat, steal)",
    ),
)

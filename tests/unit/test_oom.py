"""Out of memory in each framework's words. CPU: as provoked by asking for too much; GPU: as in the
frameworks' own issue trackers.
"""

import pytest

from bench.worker.oom import asked_mib, line, ran_out

TEXTS = {
    "torch cpu": (
        (
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't"
            " allocate memory:"
            " you tried to allocate 4503599627370496 bytes. Error code 12 (Cannot allocate memory)"
        ),
        2**52,
    ),
    "torch cuda": (
        (
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of"
            " 139.81 GiB"
            " of which 1.31 GiB is free."
        ),
        2**31,
    ),
    "torch rocm": ("HIP out of memory. Tried to allocate 20.00 MiB.", 20 * 2**20),
    "torch cublas": (
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        None,
    ),
    "jax cpu": ("RESOURCE_EXHAUSTED: Out of memory allocating 140737488355328 bytes.", 2**47),
    "jax cuda": (
        (
            "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4770354232 bytes.\n"
            "BufferAssignment OOM Debugging."
        ),
        4_770_354_232,
    ),
    "jax cuda, a request": (
        (
            "RESOURCE_EXHAUSTED: Failed to allocate request for 2.99GiB (3206250496B) on device"
            " ordinal 0"
        ),
        3_206_250_496,
    ),
    "tensorflow": (
        (
            "{{function_node __wrapped__Fill}} OOM when allocating tensor with"
            " shape[1048576,33554432] and type float on /device:CPU:0 by allocator mklcpu [Op:Fill]"
        ),
        None,
    ),
    "paddle cpu": (
        (
            "(ResourceExhausted) Fail to alloc memory of 140737488355328 size, error code is 12.\n"
            "  [Hint: Expected error == 0, but received error:12 != 0:0.]"
        ),
        2**47,
    ),
    "paddle cuda": (
        (
            "\n\n--------------------------------------\nC++ Traceback (most recent call last):\n"
            "Error Message Summary:\nResourceExhaustedError: \n\nOut of memory error on GPU"
            " 0. Cannot"
            " allocate 3.125000GB memory on GPU 0, 6.000000GB memory has been allocated and"
            " available"
            " memory is only 0.000000B."
        ),
        3.125 * 2**30,
    ),
    "mxnet cuda": (
        (
            "[18:53:03] src/storage/./pooled_storage_manager.h:157: cudaMalloc failed: out"
            " of memory\n"
            "Stack trace:"
        ),
        None,
    ),
    "mindspore cpu": ("Allocate memory failed\n\n----\n- C++ Call Stack:\nMallocForOutputs", None),
    "mindspore device": (
        (
            "Device(id:0) memory isn't enough and alloc failed, kernel name: Default/Conv2D-op1,"
            " alloc size: 4294967296B."
        ),
        2**32,
    ),
    "onnxruntime": (
        (
            "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running"
            " Expand node."
            " Name:'' Status Message: bfc_arena.cc:360 void*"
            " onnxruntime::BFCArena::AllocateRawInternal"
            "(size_t, bool, onnxruntime::Stream*) Failed to allocate memory for requested buffer of"
            " size 140737488355328"
        ),
        2**47,
    ),
    "onnxruntime, limited": (
        (
            "onnxruntime::BFCArena::AllocateRawInternal(size_t, bool) Available memory of 0"
            " is smaller"
            " than requested bytes of 135383040"
        ),
        135_383_040,
    ),
    "numpy": ("Unable to allocate 8.00 GiB for an array with shape (2147483648,)", 2**33),
    "c++": ("std::bad_alloc", None),
}


@pytest.mark.parametrize("name", TEXTS)
def test_every_frameworks_words_are_known_and_the_size_is_read(name):
    text, asked = TEXTS[name]
    assert ran_out(RuntimeError(text))
    found = asked_mib(text)
    assert found == (None if asked is None else pytest.approx(asked / 2**20))


@pytest.mark.parametrize("name", TEXTS)
def test_the_reason_is_one_short_line_with_the_size(name):
    text, asked = TEXTS[name]
    said = line(RuntimeError(text))
    assert "\n" not in said
    assert len(said) <= 300
    if asked is not None:
        assert said.endswith(f"(asked for {asked / 2**20:.0f} MiB)")


def test_the_line_that_says_it_is_taken_not_the_first():
    assert line(RuntimeError(TEXTS["paddle cuda"][0])) == (
        "RuntimeError: ResourceExhaustedError: (asked for 3200 MiB)"
    )


@pytest.mark.parametrize(
    "error",
    [
        ValueError("weights do not fit the model: missing ['fc.weight']"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
        RuntimeError("the room is full"),
        RuntimeError("Failed to allocate the port 29500"),
        KeyError("memory"),
    ],
)
def test_another_error_is_not_taken_for_it(error):
    assert not ran_out(error)


def test_pythons_own_needs_no_words():
    assert ran_out(MemoryError())
    assert line(MemoryError()) == "MemoryError"

"""The fake backends' entries, found through the entry-point group like any third party's."""

from backends.entry import Entry

FAKE = Entry(
    "fake_backend",
    python="3.11",
    locks=(),
    modes=("eager", "compiled"),
    imports=("numpy",),
    formats={"native": "fake", "onnx": "fake"},
    settings={"do": (), "has": (), "room": (), "meet": ()},
    setting_env={"has": "FAKE_HAS", "meet": "FAKE_MEET"},
    preallocation={"FAKE_PREALLOCATES": "false"},
    no_pool=("do=nothing",),
    cache_dirs=("FAKE_CACHE_DIR",),
    public="fake_public",
    capabilities="fake_capabilities",
    serves="fake_serving",
    rank_env="RANK",
)
BROKEN = Entry(
    "fake_broken",
    python="3.11",
    locks=(),
    modes=("eager",),
    imports=("numpy",),
    formats={},
)
BROKEN_TORCH = Entry(
    "broken_torch",
    python="3.11",
    locks=(),
    modes=("eager",),
    imports=("torch",),
    formats={},
    settings={"break": ()},
    generates="broken_generation",
)
HALF = Entry(
    "fake_half",
    python="3.11",
    locks=(),
    modes=("eager", "quick"),
    imports=("numpy",),
    formats={"onnx": "nobody"},
)

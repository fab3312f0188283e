"""The frameworks' own public models, in the adapters' training loops: what fairness is measured by.

A module here has ``MODELS`` (model -> the public one's name), ``MISSING`` (model -> why there is
none) and ``build(cell, batches) -> Program``. Weights are the framework's own initial ones: a step
takes as long with any.
"""

"""What msrun starts: each worker's script, and the scheduler, which must not run it.

msrun gives both the same command; ``mindspore.communication.init`` is the whole of the scheduler.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

if os.environ["MS_ROLE"] == "MS_SCHED":
    from mindspore import communication

    communication.init()
else:
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")

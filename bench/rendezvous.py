"""Where the processes of one cell find each other, when they are on several machines.

Worker half. One ``bench run`` is started on each machine, with the same choices; each starts its
part of the processes through the framework's own launcher, which is told this.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Rendezvous:
    """nodes: machines, each with as many processes. node_rank: which of them this is, from 0.

    host, port: of the first machine. Port 0: all is on this machine, and any free port will do.
    """

    nodes: int = 1
    node_rank: int = 0
    host: str = "127.0.0.1"
    port: int = 0

    def after(self, launches: int) -> Rendezvous:
        """For the next launch: a port of its own, for the last one's may still be in use."""
        return replace(self, port=self.port + launches) if self.port else self


HERE = Rendezvous()

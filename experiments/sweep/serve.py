"""A process beside a Dask worker: a request on each line of its input, a record on its output.

It ends with its input, that is with the worker, and takes the point at work with it.
"""

import json
import os
import sys
import threading
from queue import SimpleQueue

from experiments.sweep.cluster import task_of
from experiments.sweep.local import run_here


def main() -> None:
    """Answer requests until there are no more."""
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    while line := lines.get():
        (record,) = run_here([task_of(json.loads(line))], 1)
        sys.stdout.write(json.dumps(record) + "\n")
        sys.stdout.flush()


def _listen(lines: "SimpleQueue[str]") -> None:
    """Hear that the worker is gone even while a point runs; points end with this process."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()

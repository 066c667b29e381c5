"""Worker of the study of strategies that pauses after a cell until the file HELD_UNTIL exists."""

import os
import sys
import time
from pathlib import Path

from perennial.replay.events import CellFinished
from perennial.replay.study import continual_worker

emit_event = continual_worker._emit_event


def emit_and_wait(event):
    emit_event(event)
    while isinstance(event, CellFinished) and not Path(os.environ["HELD_UNTIL"]).exists():
        time.sleep(0.05)


def main():
    continual_worker._emit_event = emit_and_wait
    return continual_worker.main()


if __name__ == "__main__":
    sys.exit(main())

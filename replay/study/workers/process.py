"""The worker's side of a crew: a request in, a JSON object a line out, and an end with its master.

A worker reads one line from standard input and tells events on standard output. It ends when
standard input does, so that it does not outlive who started it.
"""

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from perennial.storage.errors import UserError

REFUSED = 2
"""Exit code of a task that the user must change something for; it is not tried again."""


def serve(work: Callable[[str], None]) -> int:
    """Do what one line of standard input asks for; returns the exit code."""
    line = sys.stdin.readline()
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        work(line)
    except UserError as error:
        tell({"event": "refused", "text": str(error)})
        return REFUSED
    except KeyboardInterrupt:
        return 130
    return 0


def tell(event: Mapping[str, Any]) -> None:
    """Say something to who started this process; `event` names its kind."""
    print(json.dumps(event), flush=True)  # noqa: T201 - the protocol with who started us


def _end_with_input() -> None:
    """Leave at once when who started this process is gone; what is committed stays."""
    sys.stdin.read()
    os._exit(1)

"""A cheap worker that follows its request's `snapshot`: a list of steps for each attempt."""

import json
import os
import sys
import time
from pathlib import Path

from perennial.replay.study.workers.local import REFUSED, emit


def main():
    request = json.loads(sys.stdin.readline())
    store, attempts = Path(request["store"]), Path(request["store"] + ".attempts")
    with attempts.open("a") as file:
        file.write("x")
    plans = json.loads(request["snapshot"])
    done = store.read_text().split() if store.exists() else []
    for cell in done:
        emit("finished", cell=cell, seconds=None)
    for step in plans[min(len(attempts.read_text()), len(plans)) - 1]:
        if step == "cell":
            done.append(str(len(done)))
            store.write_text(" ".join(done))
            emit("finished", cell=done[-1], seconds=1.0)
        elif step == "noise":
            print('output of a library\n{"event":\n[1]\n7\n{"text": "no event"}\n\n')  # noqa: T201
        elif step == "die":
            print("last words\n  of this attempt\n", file=sys.stderr, flush=True)  # noqa: T201
            os._exit(9)
        elif step == "refuse":
            emit("refused", text="there is nothing to fit on")
            sys.exit(REFUSED)
        elif step == "interrupt":
            sys.exit(130)
        elif step == "hang":
            time.sleep(600)


if __name__ == "__main__":
    main()

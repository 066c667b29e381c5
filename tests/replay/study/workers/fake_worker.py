"""A worker that costs nothing: it does what its request's `snapshot` says, a list of words per try.

`cell`: finish the next cell. `noise`: print what is no event. `die`, `refuse`, `interrupt`, `hang`.
What it has made is kept in its store, a text file, so that the next try goes on from there.
"""

import json
import os
import sys
import time
from pathlib import Path


def tell(**event):
    print(json.dumps(event), flush=True)  # noqa: T201


def main():
    request = json.loads(sys.stdin.readline())
    store, tries = Path(request["store"]), Path(request["store"] + ".tries")
    with tries.open("a") as file:
        file.write("x")
    plans = json.loads(request["snapshot"])
    plan = plans[min(len(tries.read_text()), len(plans)) - 1]
    made = store.read_text().splitlines() if store.exists() else []
    for cell in made:
        tell(event="finished", cell=cell, seconds=None)
    for word in plan:
        if word == "cell":
            cell = str(len(made))
            made.append(cell)
            store.write_text("".join(f"{one}\n" for one in made))
            tell(event="finished", cell=cell, seconds=1.0)
        elif word == "noise":
            print('some library\'s words\n{"event":\n[1]\n7\n{"text": "no event"}\n\n')  # noqa: T201
        elif word == "die":
            print("the last words\n  of this try\n", file=sys.stderr, flush=True)  # noqa: T201
            os._exit(9)
        elif word == "refuse":
            tell(event="refused", text="there is nothing to fit on")
            sys.exit(2)
        elif word == "interrupt":
            sys.exit(130)
        elif word == "hang":
            time.sleep(600)


if __name__ == "__main__":
    main()

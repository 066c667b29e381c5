"""Worker that runs commands in forked processes, kills some and checks what they left.

A worker imports the program once and starts no thread, not even JAX's or DuckDB's, so that it can
be forked: each command runs in a fresh child, as it does from a shell, without the seconds that the
imports take. It reads one job per line as JSON, and answers with a line each.
"""

import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks.crash.check import find_sentinels
from benchmarks.crash.children import (
    Json,
    check_single_thread,
    import_program,
    in_child,
    run_and_kill,
    run_command,
)
from benchmarks.crash.content import hash_file, hash_folder, hash_store
from benchmarks.crash.look import Left, check_left, compare_end, resume
from benchmarks.crash.points import Watch, watch_process
from benchmarks.crash.scenario import SCENARIOS, STORE


def record(root: Path, scenario: str) -> Json:
    """Give all commands undisturbed; what each passes through, and what is there after it.

    The folder is kept as it was before each command.
    """
    folder = root / scenario / "recording"
    folder.mkdir(parents=True)
    store, recorded, answer = folder / STORE, [], folder.with_name("answer.json")
    for step, command in enumerate(SCENARIOS[scenario].commands(root / "files", store)):
        shutil.copytree(folder, _before(root, scenario, step))

        def run(command: tuple[str, ...] = command) -> Json:
            states = [hash_file(store)]
            watch = Watch(store, see=lambda seen: states.append(_state(store, seen)))
            watch_process(watch)
            code, words = run_command(command, folder.with_name("words"))
            if code != 0:
                raise RuntimeError(f"{' '.join(command)} ends with {code}: {words}")
            points = [dataclasses.astuple(point) for point in watch.points]
            return {"points": points, "states": states}

        command_run = in_child(run, answer)
        recorded.append({**command_run, "after": in_child(lambda: hash_folder(store), answer)})
    return recorded


def kill(root: Path, job: Json, wanted: Json) -> Json:
    """Kill one command at a point, and report what is wrong with what it left.

    Args:
        root: of the campaign.
        job: scenario, step, point, delay and from_start, as in `benchmarks.crash.draw`.
        wanted: what `record` returned for the scenario.
    """
    scenario, step = job["scenario"], job["step"]
    work = root / f"work-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    folder = work / "store"
    shutil.copytree(_before(root, scenario, step), folder)
    commands = SCENARIOS[scenario].commands(root / "files", folder / STORE)
    again, last = (commands, -1) if job["from_start"] else (commands[step : step + 1], step)
    killed, words = run_and_kill(commands[step], job["point"], job["delay"], work)
    if not killed:
        return {"killed": False, "faults": [f"the point was not reached; {words}"]}
    reported = len((work / "stdout").read_text().splitlines())
    left = Left(
        points=wanted[step]["points"],
        states=wanted[step]["states"],
        point=job["point"],
        num_reported=reported,
        late=job["delay"] > 0,
        new=step == 0,
    )

    def look() -> Json:
        faults = check_left(folder / STORE, left, work / "copy")
        faults += resume(again, work / "words")
        faults += compare_end(folder, wanted[last]["after"])
        # Only the last command makes the store forget.
        return faults + (find_sentinels(folder) if again[-1] == commands[-1] else [])

    try:
        faults = in_child(look, work / "answer.json")
    except RuntimeError as error:
        faults = [str(error)]
    return {"killed": True, "faults": faults}


def _state(store: Path, connection: Any) -> str:
    return hash_file(store) if connection is None else hash_store(connection)


def _before(root: Path, scenario: str, step: int) -> Path:
    return root / scenario / f"before-{step}"


def main() -> None:
    """Answer jobs until there are no more."""
    root = Path(sys.argv[1])
    import_program()
    recorded: dict[str, Json] = {}
    for line in sys.stdin:
        job = json.loads(line)
        name = job["scenario"]
        check_single_thread()
        if job["point"] is None:
            answer = record(root, name)
            (root / name / "recorded.json").write_text(json.dumps(answer))
        else:
            if name not in recorded:
                recorded[name] = json.loads((root / name / "recorded.json").read_text())
            answer = kill(root, job, recorded[name])
        print(json.dumps(answer), flush=True)
    # DuckDB's binding complains of an interpreter that ends with methods wrapped.
    os._exit(0)


if __name__ == "__main__":
    main()

"""Calls commands in a process of its own: damage may end it, and limits must not bind the tests.

Reads a JSON list of argument lists from stdin. For each it prints a line with them, and then one
with the exit code and what was printed; so the last line tells which one ended the process.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from click.testing import CliRunner

from perennial import cli


def main() -> None:
    """Call them; files take no more bytes than the first argument says, where there is one."""
    calls = json.loads(sys.stdin.read())
    if len(sys.argv) > 1:
        import resource

        # What it compiles would be cut short there too, and then read by other tests.
        os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
        sys.dont_write_bytecode = True
        limit = int(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for arguments in calls:
        say(arguments)
        done = CliRunner().invoke(cli.main, arguments, prog_name="perennial")
        say({"code": done.exit_code, "stdout": done.stdout, "stderr": done.stderr})


def say(what: object) -> None:
    """One line that comes out at once."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Giving commands as a person does, inside this process."""

import json
from typing import Any

import numpy as np
from click.testing import CliRunner, Result

from perennial import cli

MEMORY = (
    *("--budget", "10", "--set"),
    'distill-cf.distillation={"num_steps": 4, "validate_every": 2, "max_items": 6, "regs": [1.0]}',
)
"""Options of a small memory."""

REPLAY = (
    *("--periods", "4", "--strategy", "individual,distill-cf"),
    *("--set", "mvae.max_updates=5", *MEMORY),
)
"""Options of the replay in the fixture `replayed`."""


def call(*arguments: object) -> Result:
    """Run `perennial` with arguments, each as its text."""
    return CliRunner().invoke(cli.main, [str(one) for one in arguments], prog_name="perennial")


def call_well(*arguments: object) -> Result:
    """Run it and see that it succeeds."""
    result = call(*arguments)
    assert result.exit_code == 0, result.stderr
    return result


def call_json(*arguments: object) -> Any:
    """Run it with `--json`, and return the printed object, alone on a line of stdout."""
    (line,) = call_well(*arguments, "--json").stdout.splitlines()
    return json.loads(line, parse_constant=lambda name: 1 / 0)


def write_log(path, *, seed=7, num_users=40, num_items=25, num_lines=1200, first_item=0, begin=0):
    """Write a random log, one line a minute from minute `begin` on."""
    rng = np.random.default_rng(seed)
    users = rng.integers(num_users, size=num_lines)
    items = first_item + rng.integers(num_items, size=num_lines)
    pairs = enumerate(zip(users, items, strict=True), start=begin)
    lines = [f"u{user},{item},{60 * minute}\n" for minute, (user, item) in pairs]
    path.write_text("user_id,item_id,timestamp\n" + "".join(lines))
    return path


def assert_fails(result: Result, words: str, exit_code: int = 1) -> None:
    """See one error line, the last on stderr after remarks before it, and nothing on stdout."""
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors == lines[-1:]
    assert "Traceback" not in result.stderr
    assert words in errors[0]

"""A command that is silent for long prints that it has begun."""

import subprocess
import sys

import pytest

PROGRAM = """
import time
import click
from perennial.replay.cli.errors import Program, echo
@click.group(cls=Program)
@click.option("--debug", is_flag=True)
def main(debug): pass
@main.command()
def silent(): time.sleep(2)
@main.command()
def speaking(): echo("result"); time.sleep(2)
@main.command()
def quick(): pass
main()
"""


@pytest.mark.parametrize(
    ("command", "stderr"), [("silent", "loading libraries …\n"), ("speaking", ""), ("quick", "")]
)
def test_a_command_without_output_prints_a_line(command, stderr):
    done = subprocess.run(  # noqa: S603 - our own interpreter and text
        [sys.executable, "-c", PROGRAM, command], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stderr == stderr

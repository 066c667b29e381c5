"""Giving commands as a person does, inside this process."""

from click.testing import CliRunner, Result

from perennial import cli


def call(*arguments: object) -> Result:
    """Run `perennial` with arguments, each as its text."""
    return CliRunner().invoke(cli.main, [str(one) for one in arguments], prog_name="perennial")


def call_well(*arguments: object) -> Result:
    """Run it and see that it succeeds."""
    result = call(*arguments)
    assert result.exit_code == 0, result.stderr
    return result


def assert_fails(result: Result, words: str, exit_code: int = 1) -> None:
    """See one error line, the last on stderr after remarks before it, and nothing on stdout.

    Args:
        result: of a call.
        words: what the line must say somewhere.
        exit_code: of the call.
    """
    assert result.exit_code == exit_code, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors == lines[-1:]
    assert "Traceback" not in result.stderr
    assert words in errors[0]

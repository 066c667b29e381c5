"""Parameters of commands: callbacks that turn text into values, and options that are shared."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click
from click.core import ParameterSource

from perennial.storage.errors import UserError
from perennial.storage.objects.bucket import RemotePath, is_remote
from perennial.storage.objects.table_files import TABLE_SUFFIXES, check_suffix
from perennial.storage.opening import require_store, resolve_store
from perennial.storage.registry import Registry
from perennial.stream.sources.registry import check_source

Command = TypeVar("Command", bound=Callable[..., Any])
Number = TypeVar("Number", int, float)


class Decorator(Protocol):
    """Decorator that adds a parameter to the function of a command."""

    def __call__(self, command: Command, /) -> Command:
        """Return the function with the parameter."""


Setting = tuple[str, str, Any]
"""Name of a model or strategy, name of its setting, value."""

CUTS = ("equal-count", "equal-span", "day", "week", "month", "files")
"""`perennial.stream.cuts.CUTS`, here because importing that imports NumPy."""

FORMATS = ("parquet", "csv", "tsv", "dat", "inter", "ader", "jsonl", "netflix")
"""`perennial.storage.reading.formats.FORMATS`, here because importing that imports Arrow."""

PROTOCOLS = ("fold-in", "returning")
"""`perennial.stream.next_period.ProtocolName`, here because importing that imports DuckDB."""

NOISE_KINDS = ("swap", "flip")
"""`perennial.stream.noise.NoiseKind`, here because importing that imports NumPy."""

POSITIVE = click.IntRange(min=1)
NATURAL = click.IntRange(min=0)

_SETTING = re.compile(r"([^.=]+|[A-Za-z_][\w.]*:\w+)\.([^.=]+)=(.*)")


def names_option(
    flag: str, name: str, known: Iterable[str], default: Sequence[str] = ()
) -> Decorator:
    """A repeatable option: `a,b` and `c` -> (a, b, c), each one of `known`.

    Of a registry targets are accepted too, `package.module:Class`. An empty default stands for all.
    """

    def parse(
        _ctx: click.Context, _param: click.Parameter, texts: Sequence[str]
    ) -> tuple[str, ...]:
        names = _split(texts)
        for one in names:
            if one not in known and not (isinstance(known, Registry) and known.is_target(one)):
                raise click.BadParameter(f"'{one}' is unknown; choose from {', '.join(known)}")
        return names or tuple(default)

    def complete(_ctx: click.Context, _param: click.Parameter, text: str) -> list[str]:
        start, last = text[: text.rfind(",") + 1], text[text.rfind(",") + 1 :]
        return [start + one for one in known if one.startswith(last)]

    own = " or package.module:Class" if isinstance(known, Registry) else ""
    return click.option(
        flag,
        name,
        multiple=True,
        metavar="NAME",
        callback=parse,
        shell_complete=complete,
        help=f"Any of {', '.join(known)}{own}; repeatable or with commas.  "
        f"[default: {','.join(default) or 'all'}]",
    )


class NameChoice(click.Choice[str]):
    """Type of a registered name, or of a target such as `package.module:Class`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a target as it is, and refuse any other name that is not registered."""
        return value if Registry.is_target(value) else super().convert(value, param, ctx)


def _parse_numbers(
    pattern: str, convert: Callable[[str], Number], error: str
) -> Callable[[click.Context, click.Parameter, Sequence[str]], tuple[Number, ...]]:
    """Make a callback that converts `a,b` and `c` to numbers, and refuses other texts."""

    def parse(
        _ctx: click.Context, _param: click.Parameter, texts: Sequence[str]
    ) -> tuple[Number, ...]:
        parts = _split(texts)
        for part in parts:
            if not re.fullmatch(pattern, part):
                raise click.BadParameter(f"'{part}' is no {error}")
        return tuple(map(convert, parts))

    return parse


parse_seeds = _parse_numbers(r"\d+", int, "seed; give whole numbers such as 0,1,2")
parse_counts = _parse_numbers(r"0*[1-9]\d*", int, "number; give some from 1 on, such as 25,100")
parse_percents = _parse_numbers(
    r"0*(100(\.0+)?|\d{1,2}(\.\d+)?)", float, "per cent; give some between 0 and 100"
)


def parse_settings(
    _ctx: click.Context, _param: click.Parameter, texts: Sequence[str]
) -> tuple[Setting, ...]:
    """`model.setting=value` -> (model, setting, value); JSON where it can be read so, else text."""
    settings = []
    for text in texts:
        match = _SETTING.fullmatch(text)
        if match is None:
            raise click.BadParameter(f"'{text}' is not of the form model.setting=value")
        model, setting, value = match.groups()
        try:
            settings.append((model, setting, json.loads(value)))
        except ValueError:
            settings.append((model, setting, value))
    return tuple(settings)


def parse_memory(_ctx: click.Context, _param: click.Parameter, text: str) -> int:
    """`8GiB` (units of 1024), or a share of the machine's memory such as `70%` -> bytes."""
    from perennial.replay.machine import parse_memory_size

    try:
        return parse_memory_size(text)
    except UserError as error:
        raise click.BadParameter(str(error)) from None


def parse_ids(
    _ctx: click.Context, _param: click.Parameter, text: str | None
) -> tuple[str, ...] | None:
    """`A,B,C` -> (A, B, C)."""
    return None if text is None else _split([text])


def store_option(text: str, *, required: bool = True, must_exist: bool = True) -> Decorator:
    """`--store FILE`, links followed; a mistyped name is refused before any heavy import."""

    def check(_ctx: click.Context, _param: click.Parameter, store: Path | None) -> Path | None:
        if store is None:
            return None
        store = resolve_store(store)
        if must_exist:
            require_store(store)
        return store

    return click.option(
        "--store",
        type=click.Path(path_type=Path),
        required=required,
        metavar="FILE",
        callback=check,
        help=text,
    )


def source_argument(*, required: bool = False) -> Decorator:
    """`SOURCE`: the name of a data set, a file or a folder, local or on object storage."""
    return click.argument("source", required=required)


def named_source_option(command: Command) -> Command:
    """`--source SOURCE`, in place of the argument."""
    return click.option("--source", "named", metavar="SOURCE", help="SOURCE, given as an option.")(
        command
    )


def choose_source(source: str | None, named: str | None = None) -> str | None:
    """Return the source, and refuse a mistyped one before anything heavy is imported.

    `named` is the option in place of the argument; both together are a `click.UsageError`.
    """
    if source is not None and named is not None:
        raise click.UsageError("the source is given twice; leave one out")
    chosen = source if named is None else named
    if chosen is not None and not is_remote(chosen):
        check_source(chosen)
    return chosen


def until_option(command: Command) -> Command:
    """`--until-period`, for a last period that is cut short."""
    return click.option(
        "--until-period",
        "until",
        type=click.IntRange(min=2),
        help="Leave evaluations on later periods out of the figures.",
    )(command)


def folder_option(*names: str, text: str, required: bool = False) -> Decorator:
    """Option for a folder, which need not exist."""
    folder = click.Path(path_type=Path, file_okay=False)
    return click.option(*names, type=folder, required=required, metavar="DIR", help=text)


def file_option(
    *names: str, text: str, required: bool = True, suffixes: Sequence[str] = ()
) -> Decorator:
    """Option for a file, which need not exist; with `suffixes`, its name ends in one of them."""
    file = click.Path(path_type=Path, dir_okay=False)
    check = _suffix_check(suffixes) if suffixes else None
    return click.option(
        *names, type=file, required=required, metavar="FILE", help=text, callback=check
    )


def table_option(*, required: bool = True) -> Decorator:
    """`-o FILE` for a table, local or on object storage; its suffix names the format."""
    text = f"The file to write; its suffix names the format: {', '.join(TABLE_SUFFIXES)}."
    kind, check = PlaceType(dir_okay=False), _suffix_check(TABLE_SUFFIXES)
    return click.option(
        "-o", "--output", type=kind, required=required, metavar="FILE", help=text, callback=check
    )


def _suffix_check(suffixes: Sequence[str]) -> Any:
    """Make a callback that refuses a file before any work if its suffix is not a known one."""
    return lambda _ctx, _param, place: place and check_suffix(place, suffixes)


class PlaceType(click.Path):
    """Type of a path, or of an address on object storage."""

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert text to a `Path` or a `RemotePath`."""
        if isinstance(value, RemotePath):
            return value
        if not (isinstance(value, str) and is_remote(value)):
            return super().convert(value, param, ctx)
        try:
            return RemotePath.parse(value)
        except UserError as error:
            self.fail(str(error), param, ctx)


def given(*names: str) -> list[str]:
    """Return those of the parameters that were given on the command line."""
    source = click.get_current_context().get_parameter_source
    return [name for name in names if source(name) is ParameterSource.COMMANDLINE]


def place_option(*names: str, text: str) -> Decorator:
    """Option for a folder to write, local or on object storage."""
    kind = PlaceType(file_okay=False)
    return click.option(*names, type=kind, required=True, metavar="DIR", help=text)


def seed_option(command: Command) -> Command:
    """`--seed` of a command with one seed."""
    return click.option("--seed", type=NATURAL, default=0, help="Seed of all draws.")(command)


def wait_option(command: Command) -> Command:
    """`--wait`, as seconds."""
    return click.option(
        "--wait",
        is_flag=True,
        callback=lambda _context, _parameter, given: float("inf") if given else 0.0,
        help="Wait for another process that writes to the store to end.",
    )(command)


def cache_option(command: Command) -> Command:
    """`--cache DIR`."""
    return folder_option(
        "--cache", text="Where data sets are kept; the user's cache folder if not given."
    )(command)


def settings_option(command: Command) -> Command:
    """`--set NAME.SETTING=VALUE`."""
    return click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="NAME.SETTING=VALUE",
        callback=parse_settings,
        help="A model's or a strategy's setting, e.g. mvae.latent=100; repeatable.",
    )(command)


def memory_limit_option(command: Command) -> Command:
    """`--memory-limit`, as bytes."""
    return click.option(
        "--memory-limit",
        metavar="SIZE",
        default="70%",
        callback=parse_memory,
        help="What a fit may take, or all workers of one machine together: 8GiB, 500MiB, or a "
        "share of the machine's memory.",
    )(command)


def json_option(command: Command) -> Command:
    """`--json`."""
    return _json_option("Print one JSON object and nothing else.")(command)


def json_lines_option(command: Command) -> Command:
    """`--json` of a command that prints for each file."""
    return _json_option("Print a JSON object a line for each file.")(command)


def _json_option(text: str) -> Decorator:
    return click.option("--json", "as_json", is_flag=True, help=text)


def _split(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(part.strip() for text in texts for part in text.split(",") if part.strip())

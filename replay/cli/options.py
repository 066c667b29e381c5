"""What commands take: callbacks that turn text into values, and options that are shared."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from perennial.replay.study.workers.registry import EXECUTORS, LOCAL
from perennial.storage.errors import UserError
from perennial.storage.objects.bucket import Place, RemotePath, is_remote
from perennial.storage.opening import require_store
from perennial.stream.sources.registry import check_source

CUTS = ("equal-count", "equal-span", "day", "week", "month", "files")
"""`perennial.stream.cuts.CUTS`, here because importing that imports NumPy."""

FORMATS = ("parquet", "csv", "tsv", "dat", "inter", "ader")
"""`perennial.storage.reading.formats.FORMATS`, here because importing that imports Arrow."""

PROTOCOLS = ("fold-in", "returning")
"""`perennial.stream.next_period.ProtocolName`, here because importing that imports DuckDB."""

NOISE_KINDS = ("swap", "flip")
"""`perennial.stream.noise.NoiseKind`, here because importing that imports NumPy."""

READING = ("user_column", "item_column", "time_column", "format", "max_reject_share")
"""Fields of `perennial.storage.log.ingest.IngestSettings` that `reading_options` set."""

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:(%)|([kmgt]?)(?:i?b)?)")


def names_option(
    flag: str, name: str, known: Mapping[str, Any], default: Sequence[str] = ()
) -> Callable[[Any], Any]:
    """A repeatable option: `a,b` and `c` -> (a, b, c), each one of `known`.

    Args:
        flag: as on the command line.
        name: of the parameter.
        known: what may be named.
        default: what is taken if none is named; empty stands for all.
    """

    def parse(_ctx: click.Context, _param: click.Parameter, texts: Sequence[str]) -> Any:
        names = _split(texts)
        for one in names:
            if one not in known:
                raise click.BadParameter(f"'{one}' is unknown; choose from {', '.join(known)}")
        return names or tuple(default)

    def complete(_ctx: click.Context, _param: click.Parameter, text: str) -> list[str]:
        start, last = text[: text.rfind(",") + 1], text[text.rfind(",") + 1 :]
        return [start + one for one in known if one.startswith(last)]

    return click.option(
        flag,
        name,
        multiple=True,
        metavar="NAME",
        callback=parse,
        shell_complete=complete,
        help=f"Any of {', '.join(known)}; repeatable or with commas.  "
        f"[default: {','.join(default) or 'all'}]",
    )


def parse_seeds(_ctx: click.Context, _param: click.Parameter, texts: Sequence[str]) -> Any:
    """`0,1` and `2` -> (0, 1, 2)."""
    parts = _split(texts)
    for part in parts:
        if not part.isdecimal():
            raise click.BadParameter(f"'{part}' is no seed; give whole numbers such as 0,1,2")
    return tuple(map(int, parts))


def parse_counts(_ctx: click.Context, _param: click.Parameter, texts: Sequence[str]) -> Any:
    """`25,50` and `100` -> (25, 50, 100)."""
    parts = _split(texts)
    for part in parts:
        if not part.isdecimal() or int(part) < 1:
            raise click.BadParameter(f"'{part}' is no number; give some from 1 on, such as 25,100")
    return tuple(map(int, parts))


def parse_percents(_ctx: click.Context, _param: click.Parameter, texts: Sequence[str]) -> Any:
    """`0,2.5` and `10` -> (0.0, 2.5, 10.0)."""
    parts = _split(texts)
    for part in parts:
        if not re.fullmatch(r"\d+(\.\d+)?", part) or float(part) > 100:
            raise click.BadParameter(f"'{part}' is no per cent; give some between 0 and 100")
    return tuple(map(float, parts))


def parse_settings(_ctx: click.Context, _param: click.Parameter, texts: Sequence[str]) -> Any:
    """`model.setting=value` -> (model, setting, value); JSON where it can be read so, else text."""
    settings = []
    for text in texts:
        found = re.fullmatch(r"([^.=]+)\.([^.=]+)=(.*)", text)
        if found is None:
            raise click.BadParameter(f"'{text}' is not of the form model.setting=value")
        model, setting, value = found.groups()
        try:
            settings.append((model, setting, json.loads(value)))
        except ValueError:
            settings.append((model, setting, value))
    return tuple(settings)


def parse_memory(_ctx: click.Context, _param: click.Parameter, text: str) -> int:
    """`8GiB` (units of 1024), or a share of the machine's memory such as `70%` -> bytes."""
    found = _SIZE.fullmatch(text.strip().lower())
    if found is None or float(found[1]) <= 0:
        raise click.BadParameter(f"'{text}' is no size; give one such as 8GiB, 500MiB or 70%")
    if found[2] is None:
        return int(float(found[1]) * _UNITS[found[3]])
    from perennial.replay.machine import total_memory

    return int(float(found[1]) / 100 * total_memory())


def parse_ids(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Any:
    """`A,B,C` -> (A, B, C); nothing stays nothing."""
    return None if text is None else _split([text])


def store_option(
    text: str, *, required: bool = True, must_exist: bool = True
) -> Callable[[Any], Any]:
    """`--store FILE`; a mistyped name is refused before anything heavy is imported."""

    def check(_ctx: click.Context, _param: click.Parameter, store: Path | None) -> Path | None:
        if must_exist and store is not None:
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


def source_argument(*, required: bool = False) -> Callable[[Any], Any]:
    """`SOURCE`, the name of a data set, a file or a folder, here or on object storage."""
    return click.argument("source", required=required, callback=_check_source)


def named_source_option(command: Any) -> Any:
    """`--source SOURCE`, for `SOURCE` as an option."""
    return click.option(
        "--source",
        "named",
        metavar="SOURCE",
        callback=_check_source,
        help="SOURCE, given as an option.",
    )(command)


def _check_source(_ctx: click.Context, _param: click.Parameter, source: str | None) -> str | None:
    if source is not None and not is_remote(source):
        check_source(source)
    return source


def until_option(command: Any) -> Any:
    """`--until-period`: a last period that is cut short need not count."""
    return click.option(
        "--until-period",
        "until",
        type=click.IntRange(min=2),
        help="Leave what was judged on later periods out of the figures.",
    )(command)


def folder_option(*names: str, text: str, required: bool = False) -> Callable[[Any], Any]:
    """An option that names a folder, which need not exist."""
    folder = click.Path(path_type=Path, file_okay=False)
    return click.option(*names, type=folder, required=required, metavar="DIR", help=text)


def file_option(*names: str, text: str, required: bool = True) -> Callable[[Any], Any]:
    """An option that names a file to write."""
    file = click.Path(path_type=Path, dir_okay=False)
    return click.option(*names, type=file, required=required, metavar="FILE", help=text)


class PlaceType(click.Path):
    """A path, or an address on object storage."""

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Text -> a `Path` or a `RemotePath`."""
        if isinstance(value, RemotePath):
            return value
        if not (isinstance(value, str) and is_remote(value)):
            return super().convert(value, param, ctx)
        try:
            return RemotePath.parse(value)
        except UserError as error:
            self.fail(str(error), param, ctx)


def check_files(files: tuple[Place, ...]) -> tuple[Place, ...]:
    """Refuse files that do not exist, before anything heavy is imported."""
    for file in files:
        if isinstance(file, Path) and not file.exists():
            raise UserError(f"{file}: cannot be read (No such file or directory); check the path")
    return files


def place_option(*names: str, text: str, is_folder: bool = False) -> Callable[[Any], Any]:
    """An option that names a file or a folder to write, here or on object storage."""
    kind = PlaceType(file_okay=not is_folder, dir_okay=is_folder)
    metavar = "DIR" if is_folder else "FILE"
    return click.option(*names, type=kind, required=True, metavar=metavar, help=text)


def settings_option(command: Any) -> Any:
    """`--set MODEL.SETTING=VALUE`."""
    return click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="NAME.SETTING=VALUE",
        callback=parse_settings,
        help="A model's or a strategy's setting, e.g. mvae.latent=100; repeatable.",
    )(command)


def log_options(command: Any) -> Any:
    """What log is meant, how it is cut, and where it is kept."""
    stored = "Where log and results are kept.  [default: SOURCE.duckdb here]"
    return store_option(stored, required=False, must_exist=False)(wait_option(cut_options(command)))


def cut_options(command: Any) -> Any:
    """What log is meant, and how it is cut."""
    for option in (
        click.option(
            "--cut",
            type=click.Choice(CUTS),
            help="How to cut the log.  [default: files for a folder of period files and for "
            "diginetica, else equal-count]",
        ),
        click.option(
            "--periods",
            type=click.IntRange(min=2),
            help="Periods to cut the log into (equal-count and equal-span).  [default: 17]",
        ),
        source_argument(),
    ):
        command = option(command)
    return command


def replay_options(
    models: Mapping[str, Any],
    default_models: Sequence[str],
    strategies: Mapping[str, Any],
    default_strategies: Sequence[str],
    default_seeds: str,
) -> Callable[[Any], Any]:
    """Which chains are followed through the periods, and how they are judged."""

    def add(command: Any) -> Any:
        for option in (
            protocol_options,
            warm_start_option,
            memory_options,
            settings_option,
            click.option(
                "--seed",
                "seeds",
                multiple=True,
                metavar="INTEGER",
                default=(default_seeds,),
                callback=parse_seeds,
                help=f"Seeds of the fits; repeatable or with commas.  [default: {default_seeds}]",
            ),
            names_option("--strategy", "strategies", strategies, default_strategies),
            names_option("--model", "models", models, default_models),
        ):
            command = option(command)
        return command

    return add


def protocol_options(command: Any) -> Any:
    """How the next period is asked about."""
    command = click.option("--no-mask", is_flag=True, help="Rank the items of the context too.")(
        command
    )
    return click.option(
        "--protocol",
        type=click.Choice(PROTOCOLS),
        default=PROTOCOLS[0],
        show_default=True,
        help="What is asked about the next period (see docs/protocol.md).",
    )(command)


def warm_start_option(command: Any) -> Any:
    """`--warm-start`."""
    return click.option(
        "--warm-start", is_flag=True, help="Start mvae from the period before's weights."
    )(command)


def seed_option(command: Any) -> Any:
    """`--seed`, of one piece of work."""
    return click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all draws."
    )(command)


def memory_options(command: Any) -> Any:
    """What strategies with a memory take."""
    for option in (
        click.option(
            "--memory-weight",
            type=click.FloatRange(min=0, min_open=True),
            help="How much a remembered row counts beside a real user.  [default: 1]",
        ),
        click.option(
            "--memory-policy",
            metavar="NAME",
            help="Whose summaries are replayed: all, recent:K (the last K periods'), rolling or "
            "whole.  [default: whole for distill-cf, rolling for samplers]",
        ),
        click.option(
            "--budget",
            type=click.IntRange(min=1),
            help="Rows that a memory may replay at any period.  [default: 500]",
        ),
    ):
        command = option(command)
    return command


def wait_option(command: Any) -> Any:
    """`--wait`, as seconds."""
    return click.option(
        "--wait",
        is_flag=True,
        callback=lambda _context, _parameter, given: float("inf") if given else 0.0,
        help="Wait for another process that writes to the store to end.",
    )(command)


def limit_options(command: Any) -> Any:
    """What a fit may take."""
    command = click.option(
        "--max-rows",
        type=click.IntRange(min=1),
        help="Fit on at most so many users, the most recent, drawn by seed; up to half of them what"
        " a memory replays.",
    )(command)
    return memory_limit_option(command)


def memory_limit_option(command: Any) -> Any:
    """`--memory-limit`, as bytes."""
    return click.option(
        "--memory-limit",
        metavar="SIZE",
        default="70%",
        show_default=True,
        callback=parse_memory,
        help="What a fit may take, or all workers of one machine together: 8GiB, 500MiB, or a "
        "share of the machine's memory.",
    )(command)


def engine_options(command: Any) -> Any:
    """Who makes the cells, and how many at a time."""
    for option in (
        click.option(
            "--gpus-per-cell",
            type=click.FloatRange(min=0),
            default=0.0,
            help="GPUs of each worker of --engine ray, 0.5 for two on one.  [default: 0, on CPUs]",
        ),
        click.option(
            "--address",
            metavar="ADDRESS",
            help="The cluster of --engine ray: host:6379, ray://host:10001 or auto.  [default: "
            "$RAY_ADDRESS, else a Ray of this machine alone]",
        ),
        click.option(
            "--engine",
            type=click.Choice(tuple(EXECUTORS)),
            default=LOCAL,
            show_default=True,
            help="Who makes the cells: processes here, or the machines of a Ray cluster.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            help="Processes at a time, of one thread each.  [default: one per core, one on a GPU; "
            "as many as a cluster has room for]",
        ),
    ):
        command = option(command)
    return command


def reading_options(command: Any) -> Any:
    """How log files are read: what `perennial.storage.log.ingest.IngestSettings` holds."""
    guessed = "Guessed from usual names if not given."
    for option in (
        click.option(
            "--max-reject-share",
            type=click.FloatRange(0, 1),
            help="Share of bad lines over which a file is refused.  [default: 0.05]",
        ),
        click.option(
            "--format", type=click.Choice(FORMATS), help="Told by the file's name if not given."
        ),
        click.option("--time-column", metavar="NAME", help=guessed),
        click.option("--item-column", metavar="NAME", help=guessed),
        click.option("--user-column", metavar="NAME", help=guessed),
    ):
        command = option(command)
    return command


def download_options(command: Any) -> Any:
    """Where data sets come from and go to."""
    command = click.option(
        "--mirror", metavar="URL", help="A folder to download from instead of the publisher's."
    )(command)
    return cache_option(command)


def cache_option(command: Any) -> Any:
    """`--cache DIR`."""
    return folder_option(
        "--cache", text="Where data sets are kept; the user's cache folder if not given."
    )(command)


def json_option(command: Any) -> Any:
    """`--json`."""
    return _json_option("Print one JSON object and nothing else.")(command)


def json_lines_option(command: Any) -> Any:
    """`--json` where there may be more than one thing to print."""
    return _json_option("Print a JSON object a line for each file.")(command)


def _json_option(text: str) -> Any:
    return click.option("--json", "as_json", is_flag=True, help=text)


def _split(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(part.strip() for text in texts for part in text.split(",") if part.strip())

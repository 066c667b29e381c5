"""A replay from Python, and its result as tables, pictures and a page."""

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from perennial.models.registry import DEFAULT_MODELS
from perennial.replay.analysis.run import RunData, load_run
from perennial.replay.analysis.summary import RunSummary, summarise
from perennial.replay.events import CellFinished, Event
from perennial.replay.loop import run_replay
from perennial.replay.python.estimators import Estimator, choose_model
from perennial.replay.python.log import Log
from perennial.replay.python.settings import MEMORY_LIMIT, Settings, make_config, make_limits
from perennial.replay.report.drawing import Table, TerminalConsole, print_table
from perennial.replay.report.run import write_report
from perennial.replay.report.tables import differences_table, means_table, metric_label
from perennial.replay.strategies.registry import DEFAULT_STRATEGIES
from perennial.storage.base import Progress, escape_controls, ignore_progress
from perennial.storage.errors import UserError
from perennial.storage.opening import resolve_store
from perennial.stream.next_period import ProtocolName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAMED = (("strategy", pa.string()), ("model", pa.string()))
_METRIC = (("metric", pa.string()), ("k", pa.int64()))
_FIGURES = pa.schema(
    [
        *(*_NAMED, ("seed", pa.int64()), ("fit_period", pa.int64()), ("eval_period", pa.int64())),
        *(*_METRIC, ("value", pa.float64()), ("num_users", pa.int64())),
    ]
)
_MEANS = pa.schema(
    [
        *(*_NAMED, *_METRIC, ("mean", pa.float64()), ("stderr", pa.float64())),
        *(("user_stderr", pa.float64()), ("seeds", pa.int64()), ("periods", pa.int64())),
    ]
)
_DIFFERENCES = pa.schema(
    [
        *(("strategy", pa.string()), ("baseline", pa.string()), ("model", pa.string()), *_METRIC),
        *((name, pa.float64()) for name in ("mean", "low", "high")),
        *(("periods", pa.int64()), ("eval_periods", pa.list_(pa.int64()))),
    ]
)


@dataclass(frozen=True, repr=False)
class ResultTable:
    """A table of results: all of it in Arrow, and its main columns where it is shown.

    Libraries that take Arrow data, such as pandas, polars and DuckDB, take it as it is.
    """

    arrow: pa.Table
    shown: Table

    def to_pandas(self) -> Any:
        """Return the rows as a pandas data frame, if pandas is installed."""
        return self.arrow.to_pandas()

    def to_polars(self) -> Any:
        """Return the rows as a polars data frame, if polars is installed."""
        import polars

        return polars.from_arrow(self.arrow)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.arrow.__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    def __repr__(self) -> str:
        if not self.shown.rows:
            return self.shown.title
        console = TerminalConsole(file=io.StringIO(), width=110)
        with console.capture() as text:
            print_table(self.shown, console)
        return "\n".join(line.rstrip() for line in text.get().splitlines())

    def _repr_html_(self) -> str:
        """Return the shown columns as HTML, for notebooks."""
        rows = [
            [f"{cell.text} {cell.detail}".strip() for cell in cells] for cells in self.shown.rows
        ]
        head = _html_row("th", self.shown.columns)
        body = "".join(_html_row("td", row) for row in rows)
        caption = escape(escape_controls(self.shown.title))
        return f"<table><caption>{caption}</caption>{head}{body}</table>"


def _html_row(tag: str, texts: Sequence[str]) -> str:
    cells = (f"<{tag}>{escape(escape_controls(text))}</{tag}>" for text in texts)
    return f"<tr>{''.join(cells)}</tr>"


@dataclass(frozen=True, repr=False)
class RunResult:
    """The result of a replay; `summary` has its settings under `config`."""

    data: RunData
    summary: RunSummary

    @cached_property
    def means(self) -> ResultTable:
        """Mean of each metric over the periods, with standard errors; see `MeanFigure`."""
        return ResultTable(_to_arrow(self.summary.means, _MEANS), means_table(self.summary))

    @cached_property
    def differences(self) -> ResultTable:
        """Paired differences of strategies with 95% intervals; see `Difference`."""
        shown = differences_table(self.summary) or Table("No strategies to compare", (), ())
        return ResultTable(_to_arrow(self.summary.differences, _DIFFERENCES), shown)

    @property
    def figures(self) -> pa.Table:
        """Figures of each evaluated fit; see `Result`."""
        return _to_arrow(self.summary.results, _FIGURES)

    def report(self, folder: str | Path) -> Path:
        """Write the page, the numbers and the pictures into a folder; return the page.

        Raises:
            UserError: the folder cannot be written.
        """
        return write_report(self.data, self.summary, Path(folder))[0]

    def plot(self, metric: str = "nDCG@10") -> "Figure":
        """Draw a metric over the periods, one panel per model.

        Raises:
            UserError: the run has no such metric.
        """
        from matplotlib import rc_context

        from perennial.replay.report.lines import STYLE, draw_metric, make_panels

        known = {metric_label(one.metric, one.k): (one.metric, one.k) for one in self.summary.means}
        if metric not in known:
            raise UserError(f"the run has no figures of '{metric}'; it has {', '.join(known)}")
        with rc_context(STYLE):
            return draw_metric(make_panels(self.summary, *known[metric]))

    def __repr__(self) -> str:
        return repr(self.means)

    def _repr_html_(self) -> str:
        return self.means._repr_html_()


def _to_arrow(rows: Sequence[Any], schema: pa.Schema) -> pa.Table:
    """Return instances of a dataclass as a table with a column for each field."""
    return pa.Table.from_pylist([asdict(row) for row in rows], schema)


def replay(
    log: Log,
    *,
    periods: int | None = None,
    cut: str | None = None,
    models: str | Estimator | Sequence[str | Estimator] = DEFAULT_MODELS,
    strategies: str | Sequence[str] = DEFAULT_STRATEGIES,
    seeds: Sequence[int] = (0,),
    settings: Settings | None = None,
    protocol: ProtocolName = "fold-in",
    memory_limit: int | str | None = MEMORY_LIMIT,
    max_rows: int | None = None,
    min_user_events: int | None = None,
    store: str | Path | None = None,
    progress: Progress = ignore_progress,
) -> RunResult:
    """Cut a log into periods, refit on each, evaluate on the next, as `perennial replay`.

    Args:
        log: of `open_log`.
        periods: number of periods, 17 by default.
        cut: name of the cut; by default the source's own.
        models: names, targets such as `package.module:Class`, or estimators with settings; or
            a single one.
        strategies: names or targets, or a single one.
        seeds: of the fits.
        settings: name of a model or strategy -> its settings that differ from the defaults.
        protocol: of the evaluation; see docs/protocol.md.
        memory_limit: of a fit, in bytes, or text such as `8GiB` or `70%`; `None` for no limit.
        max_rows: the most users that a fit is trained on.
        min_user_events: fewest interactions of a user that is trained on.
        store: file in which log and results are kept, so that the same call resumes; without one
            they are in memory.
        progress: called after each evaluated fit, with their number.

    Raises:
        UserError: the log cannot be read, or the settings make no run.
    """
    limits = make_limits(memory_limit, max_rows, min_user_events)
    listed = [models] if isinstance(models, str | Estimator) else models
    chosen = [choose_model(model) for model in listed]
    strategies = [strategies] if isinstance(strategies, str) else strategies
    config = make_config(chosen, strategies, seeds, settings, protocol, limits)

    def listen(event: Event) -> None:
        if isinstance(event, CellFinished):
            name = event.name
            text = f"period {name.eval_period}: {name.strategy} of {name.model}, seed {name.seed}"
            progress(text, event.num_done, event.num_cells)

    path = None if store is None else resolve_store(Path(store))
    with log.open(path, periods, cut, progress) as opened:
        config = replace(config, source=opened.source, cut=opened.cut)
        run_id = run_replay(opened.store, config, listener=listen)
        data = load_run(opened.store, run_id)
    return RunResult(data, summarise(data))

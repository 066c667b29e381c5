"""Contents of the tables, and their look in a terminal."""

import dataclasses
import io

import pytest
from made_runs import HR, make_run, texts
from rich.console import Console

from perennial.replay.analysis.summary import summarise
from perennial.replay.report import drawing, run_tables, tables
from perennial.storage.log.periods import PeriodSummary

PERIOD = PeriodSummary(
    1, "a.csv", 978_300_760_000_000, 978_387_160_000_000, True, 1234, 5, 6, 7, 8, "", 1234
)
AUC = ("AUC", None)


@pytest.fixture
def data():
    return make_run(
        {
            ("joint", "mvae", 0, 2): {HR: [60.0, 20.0], AUC: [0.75, 0.25]},
            ("individual", "mvae", 0, 2): {HR: [10.0, 20.0], AUC: [0.9, 0.7]},
            ("individual", "infinite-ae", 0, 2): {HR: [15.0, 25.0], AUC: [0.6, 0.6]},
        }
    )


def shown(renderable, width=80):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(renderable)
    return console.file.getvalue()


def test_means_by_model_with_the_baseline_first(data):
    table = tables.means_table(summarise(data))
    assert table.columns == ("model", "strategy", "HR@10", "AUC", "time")
    assert texts(table) == [
        ["mvae", "individual", "15.00", "0.8000", "2.0 s"],
        ["mvae", "joint", "40.00", "0.5000", "2.0 s"],
        ["infinite-ae", "individual", "20.00", "0.6000", "2.0 s"],
    ]
    best = [[entry.best for entry in row] for row in table.rows]
    assert best == [
        [False, False, False, True, False],
        [False, False, True, False, False],
        [False, False, False, False, False],
    ]
    assert table.rows[0][2].detail.startswith("± ")


def test_differences_with_their_intervals(data):
    table = tables.differences_table(summarise(data))
    assert table.title == "Difference from individual"
    assert texts(table) == [["mvae", "joint", "+25.00", "−0.3000"]]
    # Two users, one degree of freedom.
    assert table.rows[0][2].detail == "−284.82 to +334.82"


def test_no_differences_with_one_strategy(data):
    alone = summarise(dataclasses.replace(data, cells=data.cells[1:]))
    assert tables.differences_table(alone) is None


def test_rows_and_settings_of_refits(data):
    reports = [
        {"rows_given": 1000, "rows_used": 1000, "reg": 5.0, "epochs": 1030},
        {"rows_given": 2000, "rows_used": 1500, "reg": 20.0},
        {"rows_given": 2500, "rows_used": 1500, "reg": 5.0, "epochs": 12.4},
    ]
    cells = [
        dataclasses.replace(data.cells[0], fit_period=number, fit_report=report)
        for number, report in enumerate(reports)
    ]
    table = run_tables.fits_table(dataclasses.replace(data, cells=tuple(reversed(cells))))
    chosen = "5\N{NO-BREAK SPACE}(2×), 20\N{NO-BREAK SPACE}(1×)"
    spans = ["1,000 → 2,500", "1,000 → 1,500"]
    assert texts(table) == [["mvae", "joint", *spans, "2 of 3", chosen, "12 to 1,030"]]


def test_evaluated_users(data):
    counts = {"skipped_users": 3, "targets": 1200, "unseen_targets": 30, "empty_contexts": 1}
    counts |= {"masked_targets": 4, "dropped_context_items": 5}
    judged = {
        key: dataclasses.replace(one, counts=counts) for key, one in data.evaluated_users.items()
    }
    table = run_tables.evaluation_table(dataclasses.replace(data, evaluated_users=judged))
    assert texts(table) == [["2", "2", "3", "1,200", "2.5%", "1", "4", "5"]]


def test_periods_in_utc_or_lines():
    lines = dataclasses.replace(PERIOD, first_time=1, last_time=1234, has_clock=False)
    clock, line = texts(run_tables.periods_table([PERIOD, lines]))
    assert clock[1:3] == ["2000-12-31 22:12", "2001-01-01 22:12"]
    assert line[1:3] == ["line 1", "line 1,234"]
    assert run_tables.periods_table([PERIOD]).note
    assert not run_tables.periods_table([PERIOD, lines]).note


def test_timings_add_up_stages_and_average_seeds(data):
    stages = {"fit": 90.0, "evaluate": 30.0, "memory": 0.001}
    cells = tuple(
        dataclasses.replace(data.cells[0], seed=seed, stages=stages, peak_rss_bytes=3 * 2**30)
        for seed in (0, 1)
    )
    table = run_tables.timings_table(dataclasses.replace(data, cells=cells))
    assert table.columns == ("model", "strategy", "fit", "evaluate", "all", "peak memory")
    assert texts(table) == [["mvae", "joint", "1 min 30 s", "30.0 s", "2 min 00 s", "3.0 GiB"]]


def test_figures_period_by_period(data):
    first, second = run_tables.period_tables(summarise(data))
    assert (first.title, second.title) == ("HR@10", "AUC")
    assert first.columns == ("period", "mvae individual", "mvae joint", "infinite-ae individual")
    assert texts(first) == [["2", "15.00", "40.00", "20.00"]]
    assert [entry.best for entry in first.rows[0]] == [False, False, True, False]


def test_durations_and_sizes_have_a_readable_unit():
    durations = {0.04: "0.0 s", 59.9: "59.9 s", 59.97: "1 min 00 s", 200: "3 min 20 s"}
    for seconds, text in (durations | {7500: "2 h 05 min"}).items():
        assert tables.format_seconds(seconds) == text
    sizes = {980: "980 B", 76_800: "75 KiB", 851_443_712: "812 MiB", 3_650_722_202: "3.4 GiB"}
    for size, text in sizes.items():
        assert tables.format_bytes(size) == text


def test_findings_agree_with_the_interval(data):
    (sentence,) = tables.headline(summarise(data))
    assert sentence == (
        "With mvae, joint and individual do not differ significantly in HR@10"
        " (95% interval −284.82 to +334.82)."
    )
    clear = make_run(
        {
            ("individual", "mvae", 0, 2): {HR: [10.0, 20.0] * 9},
            ("joint", "mvae", 0, 2): {HR: [12.0, 21.0] * 9},
            ("toy", "mvae", 0, 2): {HR: [9.0, 18.0] * 9},
        }
    )
    beats, trails = tables.headline(summarise(clear))
    assert beats.startswith("With mvae, joint beats individual by 1.50 points of HR@10")
    assert trails.startswith("With mvae, toy trails individual by 1.50 points of HR@10")


@pytest.mark.parametrize(
    ("log", "end"), [(480_256, "469 KiB: it is larger than what it stands for."), (2**20, "1 MiB.")]
)
def test_a_memory_is_compared_with_its_log(log, end):
    cells = {(name, model, 0, 2): {HR: [10.0]} for name in "ab" for model in ("mvae", "toy")}
    data = make_run(cells)
    sized = tuple(
        dataclasses.replace(cell, fit_report={"memory_bytes": 802_000, "log_bytes": log})
        if cell.strategy == "b"
        else cell
        for cell in data.cells
    )
    summary = summarise(dataclasses.replace(data, cells=sized), num_resamples=0)
    assert tables.describe_memories(summary) == [
        "With mvae and toy, the memory of b has 783 KiB at the last refit, the log that it stands"
        f" for {end}"
    ]


def test_one_seed_of_fits_that_draw_shows_no_difference():
    hr = {HR: [10.0, 20.0] * 9}
    cells = {(name, "mvae", 0, 2): hr for name in ("individual", "joint", "toy")}
    summary = summarise(make_run(cells, draws_at_random=True))
    (sentence,) = tables.headline(summary)
    assert sentence.startswith("One seed of fits that draw at random")
    assert sentence.endswith("give more, such as --seed 0,1,2.")
    differences = tables.differences_table(summary)
    assert {entry.detail for entry in differences.rows[0][2:]} == {""}
    assert not differences.note
    assert {row[2].detail for row in tables.means_table(summary).rows} == {""}
    assert all(mean.user_stderr > 0 for mean in summary.means)


def test_means_over_other_numbers_of_periods_are_told_apart():
    hr = {HR: [10.0, 20.0]}
    cells = {(name, "mvae", 0, period): hr for name in ("joint", "toy") for period in (2, 3)}
    even = tables.means_table(summarise(make_run(cells)))
    assert "Not comparable" not in even.note
    cells["joint", "mvae", 0, 4] = {HR: [90.0, 80.0]}
    uneven = tables.means_table(summarise(make_run(cells)))
    assert "numbers of periods: joint of mvae over 3; toy of mvae over 2." in uneven.note
    assert not any(entry.best for row in uneven.rows for entry in row)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([("toy", 0, 2), ("toy", 0, 4)], "joint of mvae over 2, 3; toy of mvae over 2, 4."),
        ([("toy", 0, 2), ("toy", 0, 3), ("toy", 1, 3)], "toy of mvae, seed 1 over 1."),
    ],
    ids=["as many", "fewer of a seed"],
)
def test_means_over_other_sets_of_periods_are_told_apart(others, expected):
    cells = {
        (name, "mvae", seed, period): {HR: [10.0, 20.0]}
        for name, seed, period in [("joint", 0, 2), ("joint", 0, 3), *others]
    }
    table = tables.means_table(summarise(make_run(cells)))
    assert expected in table.note
    assert not any(entry.best for row in table.rows for entry in row)


@pytest.mark.parametrize(
    ("toy", "expected"),
    [
        ((2,), "joint of mvae over 2; toy of mvae over 1."),
        ((2, 4), "joint of mvae over 2, 3; toy of mvae over 2, 4."),
    ],
    ids=["fewer", "as many"],
)
def test_differences_over_other_periods_are_told_apart(toy, expected):
    chosen = {"individual": (2, 3, 4), "joint": (2, 3), "toy": toy}
    cells = {
        (name, "mvae", 0, period): {HR: [10.0, 20.0]}
        for name, periods in chosen.items()
        for period in periods
    }
    assert expected in tables.differences_table(summarise(make_run(cells))).note


def test_a_metric_without_some_periods_is_told_apart():
    cells = {
        ("joint", "mvae", 0, 2): {HR: [10.0, 20.0], AUC: [0.5, 0.7]},
        ("joint", "mvae", 0, 3): {HR: [10.0, 20.0]},
    }
    note = tables.means_table(summarise(make_run(cells))).note
    assert "HR@10 of joint of mvae over 2; AUC of joint of mvae over 1." in note


@pytest.mark.parametrize(
    ("users", "sentence"),
    [
        ({2: 0, 3: 0}, "Nobody could be evaluated in any of the 2 evaluated periods: of 10 users,"),
        ({2: 0}, "Nobody could be evaluated in the period: of 5 users,"),
        (
            {2: 2, 3: 0},
            "Nobody could be evaluated in 1 of 2 periods (3), left out of the means: of 5 users,",
        ),
        ({2: 2, 3: 1}, None),
    ],
)
def test_periods_without_evaluated_users(users, sentence):
    data = make_run(
        {("joint", "mvae", 0, period): {HR: [10.0] * count} for period, count in users.items()}
    )
    counts = {"skipped_users": 5, "without_context": 3}
    evaluated = {
        key: dataclasses.replace(one, counts=counts) for key, one in data.evaluated_users.items()
    }
    found = tables.headline(summarise(dataclasses.replace(data, evaluated_users=evaluated)))
    assert [one for one in found if one.startswith("Nobody")] == (
        []
        if sentence is None
        else [
            f"{sentence} {3 * list(users.values()).count(0)} had no interaction before their first"
            f" target and {2 * list(users.values()).count(0)} had met all their targets before."
        ]
    )


def test_settings_are_flat_and_in_words():
    config = {
        "models": [{"name": "mvae", "settings": {"beta": 0.2, "warm": False}}],
        "seeds": [0, 1],
        "protocol": {"mask_context": True},
        "max_rows": None,
        "versions": {"jax": "0"},
    }
    assert run_tables.settings_rows(config) == [
        ("model mvae", "beta 0.2, warm no"),
        ("seeds", "0, 1"),
        ("mask context", "yes"),
        ("max rows", "none"),
        ("version of jax", "0"),
    ]


def test_a_narrow_terminal_shows_every_figure(data):
    summary = summarise(data)
    for width in (60, 80, 200):
        text = shown(drawing.render_table(tables.means_table(summary), width), width)
        for word in ("mvae", "infinite-ae", "individual", "15.00", "0.8000", "±"):
            assert word in text
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_headers_and_numbers_are_never_cut(width):
    figures = [drawing.TableCell(one, "± 0.0101") for one in ("72.55", "27.72", "100.00", "67.12")]
    table = drawing.Table(
        "Means",
        ("model", "strategy", "HR@10", "nDCG@10", "HR@100", "PSP@10", "time", "remarks"),
        (drawing.make_row("infinite-ae", "distill-cf", *figures, "2.6 s", "a long remark " * 5),),
        num_labels=2,
        num_remarks=1,
    )
    console = drawing.TerminalConsole(file=io.StringIO(), width=width)
    console.print(drawing.render_table(table, width))
    text = console.file.getvalue()
    assert {"HR@10", "nDCG@10", "HR@100", "PSP@10", "time", "72.55", "27.72"} <= set(text.split())
    assert {"100.00", "67.12", "0.0101"} <= set(text.split())
    assert "2.6 s" in text
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)


def test_identifiers_are_not_markup(data):
    cells = tuple(dataclasses.replace(cell, model="[red]x[/red]") for cell in data.cells)
    marked = summarise(dataclasses.replace(data, cells=cells))
    assert "[red]x[/red]" in shown(drawing.render_table(tables.means_table(marked)))

"""A small sample of the benchmarks of ∞-AE: its steps and its rows."""

import json
import time

import pytest
from matplotlib.image import imread
from paper_toys import write_split
from rich.console import Console

from benchmarks.infinite_ae_rows import Cost, main, make_rows, measure, plot, show
from benchmarks.infinite_ae_speed import Stopwatch, run_ours
from benchmarks.scaling import power_law
from perennial.stream.random_split import read_paper_split


def test_both_solvers_are_measured_on_the_same_rows():
    rows = make_rows(300)
    assert rows.shape == (300, 3706)
    assert (rows.data == 1).all()
    assert (rows != make_rows(300)).nnz == 0
    for centres in (None, 50):
        cost = measure(rows, centres)
        assert (cost.rows, cost.centres) == (300, centres)
        assert cost.seconds > 0


def test_a_process_of_its_own_tells_what_it_took(tmp_path):
    source = tmp_path / "log.csv"
    source.write_text(
        "user_id,item_id,timestamp\n" + "".join(f"{n % 9},{n % 7},{n}\n" for n in range(60))
    )
    options = ("--rows", "20", "--more-rows", "--centres", "--costs", str(tmp_path / "costs"))
    options += ("--source", str(source), "--store", str(tmp_path / "log.duckdb"))
    main(options)
    (line,) = (tmp_path / "costs").read_text().splitlines()
    cost = Cost(**json.loads(line))
    assert (cost.rows, cost.centres) == (20, None)
    main(options)
    assert (tmp_path / "costs").read_text().splitlines() == [line], "nothing is measured twice"


def test_powers_are_fitted_and_drawn(tmp_path, capsys):
    sizes = [1000, 2000, 4000]
    power, factor = power_law(sizes, [3 * size**1.5 for size in sizes])
    assert (power, factor) == (pytest.approx(1.5), pytest.approx(3))
    costs = [Cost(size, None, size**2 / 1e6, 1.0, size**2) for size in sizes]
    costs += [Cost(size, 100, size / 1e3, 1.0, size) for size in (*sizes, 8000)]
    show(costs, 1000, Console(width=120))
    told = capsys.readouterr().out
    assert "exact: time ~ n^2.00, memory ~ n^2.00 from 1,000 to 4,000 rows" in told
    assert "100 centres: time ~ n^1.00, memory ~ n^1.00 from 1,000 to 8,000 rows" in told
    plot(costs, 1000, tmp_path / "plot.png")
    assert imread(tmp_path / "plot.png").std() > 0.05


def test_a_fit_is_timed_by_its_steps(tmp_path):
    split = read_paper_split(write_split(tmp_path / "split.parquet"), seed=0)
    watch = Stopwatch(time.perf_counter)
    run_ours(split, watch, None)
    assert set(watch.seconds) == {"kernel", "solve", "products", "metrics", "the rest"}

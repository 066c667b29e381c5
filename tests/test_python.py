"""The library as a whole: imports on demand, and the examples of docs/python.md."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import perennial as pn
from perennial.replay.python.run import replay as function

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "python.md"


@pytest.mark.parametrize("use", ["", "dir(pn)", "pn.UserError"])
def test_heavy_libraries_wait_for_their_use(use):
    program = f"import sys, perennial as pn\n{use}\nprint(*sys.modules)"
    done = subprocess.run(  # noqa: S603  # our own interpreter and text
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    heavy = {"numpy", "scipy", "jax", "pyarrow", "duckdb", "pydantic", "rich", "matplotlib"}
    assert heavy.isdisjoint(done.stdout.split())
    assert "perennial" in done.stdout.split()


def test_every_name_of_the_library_is_there():
    assert set(pn.__all__) <= set(dir(pn))
    for name in pn.__all__:
        assert callable(getattr(pn, name)), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pn.nothing  # noqa: B018


def test_the_package_of_a_function_is_called_like_it():
    assert pn.replay is sys.modules["perennial.replay"]
    assert inspect.signature(pn.replay) == inspect.signature(function)


def write_ratings(path: Path, day: int = 0, num_lines: int = 600) -> None:
    rng = np.random.default_rng(day)
    rows = [
        f"{user},{item},{rating},{86_400 * day + 60 * line},{device}\n"
        for line, (user, item, rating, device) in enumerate(
            zip(
                rng.integers(30, size=num_lines),
                rng.integers(20, size=num_lines),
                rng.integers(3, 6, size=num_lines),
                rng.choice(["phone", "desktop"], size=num_lines),
                strict=True,
            )
        )
    ]
    path.write_text("user_id,item_id,rating,timestamp,device\n" + "".join(rows))


def test_the_examples_run_in_their_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for day, name in enumerate(("ratings", "monday", "tuesday")):
        write_ratings(Path(f"{name}.csv"), day)
    names: dict[str, object] = {}
    blocks = re.findall(r"(?m)^```python\n((?:.*\n)*?)```$", EXAMPLES.read_text())
    for block in blocks:
        exec(compile(block, str(EXAMPLES), "exec"), names)  # noqa: S102  # the project's own text
    assert len(blocks) == 12
    assert names["best"]["metric"] == "nDCG"
    assert Path("ndcg.png").is_file()
    assert names["page"] == Path("report/report.html")
    assert names["summary"].column_names == ["synthetic_user", "item_id", "weight"]
    assert names["items"].shape == names["scores"].shape == (3, 10)
    with pytest.raises(pn.UserError, match="'13' is not in the store"):
        names["store"].recommend(13)

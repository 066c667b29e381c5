"""A sample of `benchmarks.fuzz_ingest`: a whole period, or a refusal that changes nothing."""

import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz import hostile_parquet, hostile_text
from benchmarks.fuzz.case import FuzzCase
from benchmarks.fuzz.check import Judge, judge_reading
from benchmarks.fuzz.files import make_case
from benchmarks.fuzz.footers import column_chunks, read_footer, read_struct, with_footer
from benchmarks.fuzz.hostile import HOSTILE, hostile
from benchmarks.fuzz.parquet import write_parquet
from perennial.storage.errors import UserError
from perennial.storage.log.ingest import ingest_period
from perennial.storage.log.vocabulary import user_ids
from perennial.storage.reading.memory_budget import Budget, free_bytes
from perennial.storage.reading.settings import IngestSettings

Write = Callable[[str, str | bytes], Path]

HEADER = "user_id,item_id,timestamp\n"
MIB = 1 << 20
BATCHES = 5


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    with Judge(tmp_path_factory.mktemp("fuzz")) as made:
        yield made


@pytest.fixture
def little_memory(monkeypatch):
    """Bombs are smaller, and go off on a machine that has 60 MiB."""
    monkeypatch.setattr(
        "perennial.storage.reading.formats.Budget", partial(Budget, lambda: 60 * MIB)
    )
    monkeypatch.setattr(hostile_text, "BOMB_BYTES", 30_000_000)
    monkeypatch.setattr(hostile_parquet, "LONG_TEXTS", 30)


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.usefixtures("little_memory")
def test_named_cases(judge, name):
    case = hostile(name)
    if "over and over" in name:
        # Only with more memory does it get as far as to be taken.
        case = FuzzCase(case.name, case.content, case.origin, case.settings)
    outcome = judge.judge(case)
    assert outcome.verdict != "finding", outcome.words


@pytest.mark.parametrize(
    "batch", [0, *(pytest.param(batch, marks=pytest.mark.campaign) for batch in range(1, BATCHES))]
)
def test_a_sample_of_the_campaign(judge, batch):
    first = len(HOSTILE) + 25 * batch
    for number in range(first, first + 25):
        case = make_case(7, number)
        outcome = judge.judge(case)
        assert outcome.verdict != "finding", f"{number} {case.name}: {outcome.words}"


def test_the_same_seed_makes_the_same_file():
    number = len(HOSTILE) + 3
    assert make_case(0, number) == make_case(0, number)
    assert make_case(0, number) != make_case(1, number)


SIGNS = (
    "\n", "\r", "\r\n", '"', '""', ",", "::", ";", "\t", " ", "|", "\0", "\x1f", "\x85", "\u2028",
    "1:", "{", "}", "[", "]", "u'", '{"user_id": 1, "item_id": 2}', "\\", '\\"', "\\ud83e",
    "nan", "user_id", "item_id", "timestamp", "1000000000", "NULL", "-1", "\ufeff", "u:token",
)  # fmt: skip
PIECES = st.sampled_from(SIGNS) | st.text(st.characters(codec="utf-8"), max_size=4)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "dat", "inter", "ader.txt", "csv.gz", "jsonl"])
@given(pieces=st.lists(PIECES, max_size=40), headed=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_read_or_refused(tmp_path, store, suffix, pieces, headed):
    text = (HEADER if headed else "") + "".join(pieces)
    content = gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode()
    case = FuzzCase(f"log.{suffix}", content, "drawn", IngestSettings(max_reject_share=1.0))
    judge_reading(case, tmp_path / case.name, store.connection)


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "jsonl", "parquet"])
@given(content=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused(tmp_path, store, suffix, content):
    judge_reading(FuzzCase(f"log.{suffix}", content, "drawn"), tmp_path / suffix, store.connection)


@pytest.mark.parametrize(
    ("name", "text", "users", "reasons"),
    [
        (
            *("log.csv", HEADER + 'u\r,a,1\n\ru,a,1\n"v\rw",b,2\r\nx,c,3\n'),
            *(["v\rw", "x"], {"carriage return inside the line": 2}),
        ),
        # A byte order mark at the beginning of an identifier stays.
        ("log.csv", HEADER + "\ufeffu,a,1\n\ufeffv,a,2\n", ["\ufeffu", "\ufeffv"], {}),
        # The byte that replaces the delimiter in the reader is no value.
        (
            *("log.dat", "1::2::3::1000000000\n1\x1f2::3::1000000000\n"),
            *([1], {"wrong number of columns": 1}),
        ),
        # Spaces that few know do no harm around a time.
        ("log.csv", "1,2,\x1f1000000000\n1,3,1000000000\n2,3,1000000001\n", None, {}),
        ("log.csv", HEADER + f"{'9' * 5000},1,1\n", ["9" * 5000], {}),
        ("log.csv", HEADER + f"{2**100},1,1\n", [2**100], {}),
        (
            *("log.csv", HEADER + f"u,{'x' * 65_536},1\n{'y' * 65_537},a,2\n"),
            *(["u"], {"user is longer than 65536 bytes": 1}),
        ),
    ],
    ids=["return", "mark", "delimiter", "spaces", "digits", "integer", "long"],
)
def test_odd_text_spoils_its_line_only(store, write, name, text, users, reasons):
    report = ingest_period(store, write(name, text), IngestSettings(max_reject_share=0.5))
    assert report.reject_reasons == reasons
    if users is None:
        assert report.interactions == 3
    else:
        assert user_ids(store, range(len(users))) == users
        assert store.rows("SELECT count(*) FROM users") == [(len(users),)]


def test_parquet_with_fewer_rows_than_its_metadata(store, tmp_path):
    content = write_parquet({"user_id": pa.array(range(9)), "item_id": pa.array(range(9))})
    footer = read_footer(content)
    footer[3].value = footer[4][0][3].value = 10
    (tmp_path / "log.parquet").write_bytes(with_footer(content, footer))
    with pytest.raises(UserError, match=r"log\.parquet: it holds fewer rows than"):
        ingest_period(store, tmp_path / "log.parquet")


def test_codes_outside_a_dictionary_are_found(store, tmp_path):
    ids = pa.array(["a", "b", "c", "c"] * 4)
    content = write_parquet({"user_id": ids, "item_id": ids}, compression="none")
    place = next(column_chunks(read_footer(content)))[9].value
    header, start = read_struct(content, place)
    end = start + header[3].value
    (tmp_path / "log.parquet").write_bytes(content[: end - 1] + b"\xff" + content[end:])
    with pytest.raises(UserError, match="codes that stand for no value"):
        ingest_period(store, tmp_path / "log.parquet")


def test_the_same_long_text_in_every_row_is_kept_once(store, tmp_path):
    long = pa.DictionaryArray.from_arrays(
        pa.array([0, 1] * 50_000, pa.int32()), ["x" * 50_000, "y"]
    )
    times = pa.array(range(100_000))
    path = tmp_path / "log.parquet"
    path.write_bytes(write_parquet({"user_id": long, "item_id": times, "timestamp": times}))
    assert path.stat().st_size < 2 * MIB
    assert ingest_period(store, path).interactions == 100_000
    assert user_ids(store, [0, 1]) == ["x" * 50_000, "y"]


def test_a_budget_is_half_of_the_free_memory():
    budget = Budget(lambda: 3 << 30)
    budget.take(1 << 30)
    with pytest.raises(UserError, match=r"more than half of the 3\.0 GiB of memory"):
        budget.take(1 << 30)


def test_a_container_may_have_less_memory_than_the_machine(tmp_path):
    assert free_bytes(tmp_path) > MIB
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert free_bytes(tmp_path) > MIB
    (tmp_path / "memory.max").write_text("5000\n")
    assert free_bytes(tmp_path) == 4000
    (tmp_path / "memory.stat").write_text("anon 600\ninactive_file 300\n")
    assert free_bytes(tmp_path) == 4300
    (tmp_path / "memory.current").write_text("9000\n")
    assert free_bytes(tmp_path) == 0

"""One identifier is one identifier, in whatever format and type it is written."""

from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perennial.storage.errors import UserError
from perennial.storage.log.ingest import IngestSettings, ingest_log, ingest_period
from perennial.storage.log.vocabulary import ITEMS, USERS, all_ids, id_column
from perennial.storage.reading.identifier_forms import canonical, to_json_identifier
from perennial.storage.store import Store

HEADER = "user_id,item_id,timestamp\n"
SOME = settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])


def as_text(suffix=""):
    return lambda ids: [f"{one}{suffix}" for one in ids]


def as_column(kind, convert=lambda one: one):
    return lambda ids: pa.array([convert(one) for one in ids], kind)


def as_texts_of(kind):
    return lambda ids: pa.array(map(str, ids), pa.string()).cast(kind)


# Ways to write whole numbers, and the largest that each can hold.
INTEGERS = {
    "text": (as_text(), 10**76 - 1),
    "text of floats": (as_text(".0"), 10**76 - 1),
    "int64": (as_column(pa.int64()), 2**63 - 1),
    "float16": (as_column(pa.float16(), float), 2**11 - 1),
    "float32": (as_column(pa.float32(), float), 2**24 - 1),
    "float64": (as_column(pa.float64(), float), 2**53 - 1),
    "decimal": (as_column(pa.decimal128(38, 2), Decimal), 10**36 - 1),
    "wide decimal": (as_column(pa.decimal256(76, 0), Decimal), 10**76 - 1),
    **{
        str(kind): (as_texts_of(kind), 10**76 - 1)
        for kind in (
            *(pa.string(), pa.large_string(), pa.string_view()),
            pa.dictionary(pa.int32(), pa.string()),
        )
    },
}
UUIDS = {
    "text": as_text(),
    "upper case": lambda ids: [str(one).upper() for one in ids],
    "braces": lambda ids: [f"{{{one}}}" for one in ids],
    "string": as_column(pa.string(), lambda one: str(one).upper()),
    "UUID": as_column(pa.uuid(), lambda one: one.bytes),
}


def write(path, users, items):
    """Write identifiers as CSV if they are a list of texts, and as Parquet if they are arrays."""
    if isinstance(users, list):
        lines = (f"{user},{item},1600000000\n" for user, item in zip(users, items, strict=True))
        path = path.with_suffix(".csv")
        path.write_text(HEADER + "".join(lines))
        return path
    times = pa.array([1_600_000_000] * len(users))
    path = path.with_suffix(".parquet")
    pq.write_table(pa.table([users, items, times], ["user_id", "item_id", "timestamp"]), path)
    return path


def read_ids(*paths):
    """Ingest files as periods of a new store, and return its users and items."""
    with Store.open(":memory:") as store:
        for path in paths:
            ingest_period(store, path)
        return all_ids(store, USERS), all_ids(store, ITEMS)


@pytest.mark.parametrize("form", INTEGERS)
@given(data=st.data())
@SOME
def test_integers(tmp_path, form, data):
    make, largest = INTEGERS[form]
    numbers = data.draw(st.lists(st.integers(-largest, largest), min_size=1))
    users, items = read_ids(write(tmp_path / "log", make(numbers), make(numbers[::-1])))
    assert set(map(str, users)) == set(map(str, items)) == set(map(str, numbers))


@pytest.mark.parametrize("form", UUIDS)
@given(ids=st.lists(st.uuids(), min_size=1))
@SOME
def test_uuids(tmp_path, form, ids):
    users, _ = read_ids(write(tmp_path / "log", UUIDS[form](ids), UUIDS[form](ids)))
    assert set(users) == set(map(str, ids))


@pytest.mark.parametrize("second", INTEGERS)
@pytest.mark.parametrize("first", ["text", "text of floats"])
def test_a_later_file_in_another_form_has_the_same_users(tmp_path, first, second):
    paths = [
        write(tmp_path / name, INTEGERS[form][0]([1, 20, 0]), INTEGERS[form][0]([3, 4, 2047]))
        for name, form in (("a", first), ("b", second))
    ]
    assert [sorted(ids) for ids in read_ids(*paths)] == [[0, 1, 20], [3, 4, 2047]]


VOCABULARIES = {
    "integers": st.integers(-(2**63), 2**63 - 1).map(str),
    "large integers": st.integers(-(10**76) + 1, 10**76 - 1).map(str),
    "UUIDs": st.uuids().map(lambda one: str(one).upper()),
    "anything": st.one_of(
        st.integers().map(str),
        st.floats(allow_nan=False).map(str),
        st.sampled_from(["007", "+7", "-0", "7.0", "007.0"]),
        st.text(st.characters(exclude_categories=("C", "Z")), min_size=1),
    ),
}


@pytest.mark.parametrize("kind", VOCABULARIES)
@given(data=st.data())
@SOME
def test_what_is_written_is_read_as_the_same_identifiers(tmp_path, kind, data):
    texts = data.draw(st.lists(VOCABULARIES[kind], min_size=1, unique=True))
    with Store.open(":memory:") as store:
        ingest_period(store, write(tmp_path / "log", pa.array(texts), pa.array(texts)))
        ids = all_ids(store, USERS)
        columns = [id_column(store, names, range(len(ids))) for names in (USERS, ITEMS)]
    assert read_ids(write(tmp_path / "again", *columns)) == (ids, ids)
    assert set(ids) == set(map(canonical, texts))


def test_a_rejected_line_decides_no_type(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(f"{HEADER}1,2,1600000000\nx,3,never\n2,y,\n3,4,1600000001\n")
    with Store.open(":memory:") as store:
        report = ingest_period(store, path, IngestSettings(max_reject_share=0.5))
        assert (report.interactions, report.rejected) == (2, 2)
        assert (all_ids(store, USERS), all_ids(store, ITEMS)) == ([1, 3], [2, 4])


@pytest.mark.parametrize("at_once", [True, False])
def test_the_first_file_decides_the_kind_for_ever(tmp_path, at_once):
    numbers = write(tmp_path / "a", ["1", "2"], ["i", "j"])
    others = write(tmp_path / "b", ["2", "x"], ["3", "4"])
    with Store.open(":memory:") as store:
        if at_once:
            reports = [ingest_log(store, [numbers, others], lambda times: times[:0])]
        else:
            reports = [ingest_period(store, path) for path in (numbers, others)]
        users, items = reports[-1].remarks
        assert "users are not all whole numbers, and those before them are" in users
        assert "items are whole numbers, and those before them are text" in items
        assert len([remark for report in reports for remark in report.remarks]) == 2
        assert set(all_ids(store, USERS)) == {1, 2, "x"}
        assert set(all_ids(store, ITEMS)) == {"i", "j", "3", "4"}


@given(st.integers())
def test_json_readers_lose_no_digit(number):
    value = to_json_identifier(number)
    assert str(value) == str(number)
    assert isinstance(value, str) or int(float(value)) == number
    assert isinstance(value, int) == (abs(number) < 2**53)
    assert to_json_identifier(str(number)) == str(number)


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
@pytest.mark.parametrize("bad", [{"item_id": None}, {"ts": "gone"}, {"user_id": None}])
def test_an_inexact_float_refuses_only_in_a_row_that_counts(tmp_path, kind, bad):
    good = {"user_id": 1.0, "item_id": 2.0, "ts": "2024-01-31"}
    beyond = "user_id" if "item_id" in bad else "item_id"
    path = tmp_path / "log.parquet"
    schema = pa.schema([("user_id", kind), ("item_id", kind), ("ts", pa.string())])
    reading = IngestSettings(max_reject_share=0.5)
    for row, is_refused in ((good | {beyond: 1e17} | bad, False), (good | {beyond: 1e17}, True)):
        pq.write_table(pa.Table.from_pylist([good, row], schema), path)
        with Store.open(":memory:") as store:
            if is_refused:
                with pytest.raises(UserError, match=f"'{beyond}'.*are exact up to"):
                    ingest_period(store, path, reading)
            else:
                assert ingest_period(store, path, reading).rejected == 1

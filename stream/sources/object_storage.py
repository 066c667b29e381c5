"""Logs on object storage, copied to this machine while they are read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perennial.storage.base import Progress, ignore_progress
from perennial.storage.objects.bucket import Bucket, RemotePath, is_remote
from perennial.storage.objects.copies import local_copies, local_folder
from perennial.stream.sources.base import LogFiles
from perennial.stream.sources.files import choose_partitions, choose_periods, has_partitions
from perennial.stream.sources.registry import open_source


@contextmanager
def local_source(source: str, near: Path, progress: Progress = ignore_progress) -> Iterator[str]:
    """Replace an address on object storage by a temporary copy; yield its path, or `source` itself.

    The copy is in the folder `near` or, if that does not exist, in the nearest parent that does.

    Raises:
        UserError: the object cannot be copied, or the folder has no log in it.
    """
    if not is_remote(source):
        yield source
        return
    place = RemotePath.parse(source)
    bucket = Bucket(place)
    if bucket.is_folder(place):
        is_divided = has_partitions(bucket.list_subfolders(place))
        objects = bucket.list(place, recursive=is_divided)
        below = [one.place.path.removeprefix(f"{place.path}/") for one in objects]
        names = (choose_partitions if is_divided else choose_periods)(place, below)
        with local_folder(place, names, near, progress) as folder:
            yield str(folder)
        return
    with local_copies([place], near, progress) as (path,):
        yield str(path)


@contextmanager
def open_local_source(
    source: str,
    near: Path,
    *,
    cache: Path,
    mirror: str | None = None,
    progress: Progress = ignore_progress,
) -> Iterator[LogFiles]:
    """Open a source as `open_source` does; copies from object storage are removed at the end."""
    with local_source(source, near, progress) as path:
        yield open_source(path, cache=cache, mirror=mirror, progress=progress)

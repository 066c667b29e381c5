"""Public data sets: downloaded once, unpacked, and kept in the cache with a receipt."""

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from perennial.storage.atomic import replacing, write_synced
from perennial.storage.base import Progress, ignore_progress
from perennial.storage.errors import UserError
from perennial.stream.sources.base import LogFiles, SourceInfo
from perennial.stream.sources.download import RemoteFile, fetch, hash_file

_CHUNK = 1 << 20


@dataclass(frozen=True)
class PublicFile:
    """A log file made from a published file.

    Attributes:
        name: name of the log file in the cache; its suffix is that of its format.
        member: the log's path in the downloaded zip archive; `None` if it is no archive.
        header: first line with the names of the columns, if the published file has none.
    """

    remote: RemoteFile
    name: str
    max_bytes: int
    member: str | None = None
    header: bytes = b""


@dataclass(frozen=True)
class PublicDataSet:
    """A `Source` with published files; its name is that of its cache folder too."""

    name: str
    info: SourceInfo
    files: tuple[PublicFile, ...]
    cut: str = "equal-count"

    def state(self, cache: Path) -> str:
        """Return `ready` if all files are in the cache, or what has to be done."""
        ready = all(_is_cached(cache / self.name, file) for file in self.files)
        return "ready" if ready else "not downloaded"

    def open(self, *, cache: Path, mirror: str | None, progress: Progress) -> LogFiles:
        """Download what is missing; see `Source.open`."""
        from perennial.storage.reading.settings import IngestSettings

        folder = cache / self.name
        paths = [obtain(file, folder, mirror=mirror, progress=progress) for file in self.files]
        return LogFiles(self.name, tuple(paths), IngestSettings(), self.cut)


def obtain(
    file: PublicFile,
    folder: Path,
    *,
    mirror: str | None = None,
    progress: Progress = ignore_progress,
) -> Path:
    """Return a file from the cache; download it if it is missing, changed or outdated.

    The receipt, `NAME.receipt.json`, is written last: it holds the published checksum of the
    download and the SHA-256 of the unpacked file, against which the file is verified.

    Raises:
        UserError: it cannot be downloaded, unpacked or written.
    """
    path = folder / file.name
    receipt_path = _receipt_path(folder, file)
    if _is_cached(folder, file) and _read_receipt(folder, file)["sha256"] == hash_file(
        path, "sha256"
    ):
        return path
    try:
        receipt_path.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        download = folder / f"{file.name}.download"
        fetch(file.remote, download, mirror=mirror, progress=progress)
        with replacing(path) as temporary, temporary.open("wb") as out:
            unpacked = _unpack(download, file, out, progress)
        receipt = {
            "published": file.remote.checksum,
            "url": file.remote.url(mirror),
            "sha256": hash_file(path, "sha256"),
            "bytes": unpacked,
        }
        write_synced(receipt_path, json.dumps(receipt, indent=1).encode())
        download.unlink()
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror or error}") from None
    return path


def _unpack(download: Path, file: PublicFile, out: IO[bytes], progress: Progress) -> int:
    """Write the log: the header line, then the archive's member or the whole download."""
    if file.member is None:
        with download.open("rb") as source:
            return _copy(source, download.stat().st_size, file, out, progress)
    try:
        with zipfile.ZipFile(download) as archive:
            member = archive.getinfo(file.member)
            with archive.open(member) as source:
                return _copy(source, member.file_size, file, out, progress)
    except (zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, EOFError) as error:
        raise UserError(f"cannot unpack {file.member} from {file.remote.name}: {error}") from None


def _copy(
    source: IO[bytes], size: int, file: PublicFile, out: IO[bytes], progress: Progress
) -> int:
    """Copy at most `file.max_bytes`; sizes in the archive's directory cannot be trusted."""
    done = out.write(file.header)
    while chunk := source.read(_CHUNK):
        done += out.write(chunk)
        if done > file.max_bytes:
            raise UserError(
                f"{file.name} in {file.remote.name} is larger than the {file.max_bytes:,} bytes "
                "expected; not taken"
            )
        progress(f"unpacking {file.name}", done, size + len(file.header))
    return done


def _is_cached(folder: Path, file: PublicFile) -> bool:
    """Return True if the receipt in the cache matches the file as published now."""
    receipt = _read_receipt(folder, file)
    path = folder / file.name
    return (
        path.is_file()
        and receipt.get("published") == file.remote.checksum
        and receipt.get("bytes") == path.stat().st_size
        and isinstance(receipt.get("sha256"), str)
    )


def _read_receipt(folder: Path, file: PublicFile) -> dict[str, Any]:
    """Read the receipt of a file; empty if there is none or it is damaged."""
    try:
        receipt = json.loads(_receipt_path(folder, file).read_bytes())
    except (OSError, ValueError):
        return {}
    return receipt if isinstance(receipt, dict) else {}


def _receipt_path(folder: Path, file: PublicFile) -> Path:
    return folder / f"{file.name}.receipt.json"

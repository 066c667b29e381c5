"""Object storage: listing, downloading and uploading the objects of a bucket.

An address is `s3://BUCKET/KEY` or `gs://BUCKET/KEY`. pyarrow's file systems access it, with keys,
region and endpoint from the environment; options of theirs (`?region=...`) may follow. Options are
never shown, and keys in an address are refused.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from perennial.storage.base import Progress, ignore_progress
from perennial.storage.errors import StorageUnavailable, UserError

SCHEMES = ("s3", "gs")
_BLOCK = 8 << 20
# Google's client would retry for a quarter of an hour.
_PATIENCE = "retry_limit_seconds=30"
_CODE = re.compile(r"AWS Error (\w+(?: \(HTTP status \d+\))?)|Status\(([A-Z_]+)")
_REFUSED = re.compile(
    r"ACCESS_DENIED|ACCESS_KEY|SIGNATURE|TOKEN|UNRECOGNIZED_CLIENT|EXPIRED|status 403"
    r"|PERMISSION_DENIED|UNAUTHENTICATED"
)
_NO_ANSWER = re.compile(
    r"NETWORK|TIMEOUT|SLOW_DOWN|THROTTLING|UNAVAILABLE|INTERNAL|DEADLINE|status 5\d\d"
)


@dataclass(frozen=True)
class RemotePath:
    """An object on object storage, or a folder, which is a common prefix of objects.

    Attributes:
        scheme: one of `SCHEMES`.
        path: `bucket/key`, not quoted.
        options: options of pyarrow's file system, quoted.
        login: `anonymous` for access without keys, which only `gs` has.
    """

    scheme: str
    path: str
    options: str = ""
    login: str = ""

    @classmethod
    def parse(cls, text: str) -> "RemotePath":
        """Parse an address; raise `UserError` if it names no bucket, or contains a key."""
        scheme, _, rest = text.partition("://")
        # A space need not be quoted.
        parts = urlsplit(f"{scheme.lower()}://{rest.replace(' ', '%20')}")
        login, _, bucket = parts.netloc.rpartition("@")
        path = unquote(f"{bucket}{parts.path}").rstrip("/")
        one = cls(parts.scheme, path, parts.query, login)
        if login and (one.scheme, login) != ("gs", "anonymous"):
            raise UserError(
                f"{one}: keys in an address can be read by others; put them into the environment, "
                "such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        if parts.fragment:
            raise UserError(f"{one}#...: write # in a name as %23, ? as %3F and % as %25")
        names = path.split("/")
        if not path.isprintable() or any(name in ("", ".", "..") for name in names):
            raise UserError(f"{text.partition('?')[0]!r}: give {scheme}://BUCKET/NAME")
        return one

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}"

    @property
    def name(self) -> str:
        """Part of the path after the last slash."""
        return self.path.rpartition("/")[2]

    @property
    def bucket(self) -> str:
        """Part of the path before the first slash."""
        return self.path.partition("/")[0]

    def __truediv__(self, name: str) -> "RemotePath":
        return replace(self, path=f"{self.path}/{name}")


Place = Path | RemotePath
"""Path of a file or a folder, on this machine or on object storage."""


def is_remote(text: str) -> bool:
    """Return True if a text is an address on object storage."""
    return text.lower().startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


def check_files(files: Sequence[Place]) -> tuple[Place, ...]:
    """Return the files; raise `UserError` for a folder and for one that does not exist here."""
    for file in files:
        if isinstance(file, Path) and file.is_dir():
            raise UserError(f"{file}: is a folder; name the files in it")
        if isinstance(file, Path) and not file.exists():
            raise UserError(f"{file}: cannot be read (No such file or directory); check the path")
    return tuple(files)


@dataclass(frozen=True)
class ObjectInfo:
    """Entry of a listing.

    Attributes:
        size: bytes.
        changed: time of the last change, ns since 1970.
    """

    place: RemotePath
    size: int
    changed: int


class Bucket:
    """A connection to a bucket; error messages are one line without secrets."""

    def __init__(self, place: RemotePath) -> None:
        """Connect; raise `UserError` if an option is unknown, or the bucket cannot be reached."""
        import pyarrow as pa
        from pyarrow import fs

        options = place.options
        if place.scheme == "gs" and "retry_limit_seconds" not in options:
            options = f"{options}&{_PATIENCE}" if options else _PATIENCE
        login = f"{place.login}@" if place.login else ""
        address = f"{place.scheme}://{login}{quote(place.bucket)}?{options}"
        try:
            self._system = fs.FileSystem.from_uri(address)[0]
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            # The original message would show the options.
            raise UserError(
                f"{place}: the text after its ? is no option of pyarrow's file system for "
                f"{place.scheme}://"
            ) from None
        except OSError as error:
            raise _explain(place, error) from None

    def is_folder(self, place: RemotePath) -> bool:
        """Return True for a folder and False for an object; raise `UserError` if it is neither."""
        from pyarrow import fs

        kind = self._kind(place, place.path)
        if kind == fs.FileType.NotFound:
            raise self._missing(place)
        return bool(kind == fs.FileType.Directory)

    def require(self, place: RemotePath) -> None:
        """Check that the bucket of a place exists; raise `UserError` if it does not."""
        from pyarrow import fs

        if self._kind(place, place.bucket) == fs.FileType.NotFound:
            raise UserError(f"{place}: there is no bucket '{place.bucket}'; check its name")

    def list(self, folder: RemotePath, *, recursive: bool = False) -> tuple[ObjectInfo, ...]:
        """List the objects of a folder, or all below it; empty if there is no such folder.

        Raises:
            UserError: there is no such bucket, or it cannot be reached.
        """
        from pyarrow import fs

        return tuple(
            ObjectInfo(replace(folder, path=one.path), one.size, one.mtime_ns or 0)
            for one in self._entries(folder, recursive=recursive)
            if one.type == fs.FileType.File and one.path.isprintable()
        )

    def list_subfolders(self, folder: RemotePath) -> tuple[str, ...]:
        """List the names of the subfolders of a folder; errors as of `list`."""
        from pyarrow import fs

        entries = self._entries(folder, recursive=False)
        return tuple(one.base_name for one in entries if one.type == fs.FileType.Directory)

    def _entries(self, folder: RemotePath, *, recursive: bool) -> Any:
        from pyarrow import fs

        selector = fs.FileSelector(folder.path, allow_not_found=True, recursive=recursive)
        try:
            found = self._system.get_file_info(selector)
        except OSError as error:
            raise _explain(folder, error) from None
        if not found:
            self.require(folder)
        return found

    def open(self, place: RemotePath) -> Any:
        """Open an object for pyarrow to read in parts; raise `OSError` if it cannot be read."""
        return self._system.open_input_file(place.path)

    def get(self, place: RemotePath, target: Path, progress: Progress = ignore_progress) -> None:
        """Download an object to a file; raise `UserError` if one of them fails."""
        try:
            with target.open("wb") as file:
                for done, size, block in self._blocks(place):
                    progress(f"fetching {place.name}", done, size)
                    file.write(block)
        except OSError as error:
            raise StorageUnavailable(
                f"{place}: cannot be copied to {target} ({error.strerror}); make room or mend the "
                "disk"
            ) from error

    def put(self, source: Path, place: RemotePath) -> None:
        """Upload a file to an object, atomically; raise `UserError` if it cannot be written."""
        from pyarrow import fs

        try:
            # All inside Arrow: interrupted Python code would close, and so publish, half an object.
            fs.copy_files(
                str(source),
                place.path,
                source_filesystem=fs.LocalFileSystem(),
                destination_filesystem=self._system,
            )
        except OSError as error:
            raise _explain(place, error) from None

    def remove(self, place: RemotePath) -> None:
        """Remove an object; raise `UserError` if it cannot be removed."""
        try:
            self._system.delete_file(place.path)
        except OSError as error:
            raise _explain(place, error) from None

    def _blocks(self, place: RemotePath) -> Iterator[tuple[int, int, bytes]]:
        """Yield an object in blocks, with the number of bytes before each and in all."""
        try:
            with self.open(place) as stream:
                size, done = stream.size(), 0
                while block := stream.read(_BLOCK):
                    yield done, size, block
                    done += len(block)
        except FileNotFoundError:
            raise self._missing(place) from None
        except OSError as error:
            raise _explain(place, error) from None

    def _kind(self, place: RemotePath, path: str) -> Any:
        try:
            return self._system.get_file_info(path).type
        except OSError as error:
            raise _explain(place, error) from None

    def _missing(self, place: RemotePath) -> UserError:
        self.require(place)
        return UserError(f"{place}: there is no such object and no such folder; check its name")


def _explain(place: RemotePath, error: OSError) -> UserError:
    """Return an error of one line, without the library's text, which shows hosts and requests."""
    text = str(error)
    found = _CODE.search(text)
    code = (found[1] or found[2]) if found else ""
    if code.startswith("NO_SUCH_BUCKET"):
        return UserError(f"{place}: there is no bucket '{place.bucket}'; check its name")
    keys = (
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        if place.scheme == "s3"
        else "GOOGLE_APPLICATION_CREDENTIALS"
    )
    if _REFUSED.search(code) or "OAuth2 access token" in text:
        return UserError(f"{place}: access is refused; check {keys}, and what they allow")
    if _NO_ANSWER.search(code):
        where = "AWS_ENDPOINT_URL and " if place.scheme == "s3" else ""
        return StorageUnavailable(
            f"{place}: no answer ({code}); check {where}the network, or try later"
        )
    return StorageUnavailable(
        f"{place}: cannot be reached ({code or type(error).__name__}); check its region, {keys}"
    )

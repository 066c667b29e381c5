"""Downloads one file: verified, resumed after a break, and there only when it is whole."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perennial.storage.atomic import commit
from perennial.storage.errors import UserError
from perennial.storage.progress import Progress, ignore_progress

if TYPE_CHECKING:
    import httpx

ATTEMPTS = 5
"""How often a transfer is tried before it is given up; each goes on where the last one broke."""

_TIMEOUT = 30.0
_PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers that may be different in a moment."""


@dataclass(frozen=True)
class RemoteFile:
    """A file that somebody publishes.

    Attributes:
        folder: address of the folder it lies in, ending in `/`; a mirror stands in for this part.
        name: the rest of the address.
        checksum: `md5:…` or `sha256:…`, in lower-case hexadecimal.
        checksum_from: who says so, for the error message.
        max_bytes: where a transfer is broken off as something else.
    """

    folder: str
    name: str
    checksum: str
    checksum_from: str
    max_bytes: int

    def url(self, mirror: str | None = None) -> str:
        """Where to get it."""
        return (self.folder if mirror is None else mirror.rstrip("/") + "/") + self.name


class _BrokenOffError(Exception):
    """A transfer that ended too early, and may go on."""


def fetch(
    remote: RemoteFile,
    destination: Path,
    *,
    mirror: str | None = None,
    progress: Progress = ignore_progress,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Download a file and verify its checksum.

    What has arrived is kept beside the destination as `NAME.part`, so that the next attempt, or
    the next call, asks only for the rest; a file that changed meanwhile is begun again. The
    destination itself appears by an atomic rename, whole and verified; if it is there already,
    nothing is downloaded.

    Args:
        remote: what to get.
        destination: where to put it; its folder must exist.
        mirror: address of a folder to get it from instead.
        progress: called with bytes.
        wait: sleeps for some seconds between attempts.

    Raises:
        UserError: refused, unreachable after `ATTEMPTS`, too large, or not the published file;
            nothing is at the destination then.
    """
    part = destination.with_name(destination.name + ".part")
    url = remote.url(mirror)
    algorithm = remote.checksum.partition(":")[0]
    try:
        if destination.is_file() and hash_file(destination, algorithm) == remote.checksum:
            return
        actual = ""
        for _ in range(2):
            pieced = _transfer(url, remote, part, progress, wait)
            actual = hash_file(part, algorithm)
            if actual == remote.checksum:
                commit(part, destination)
                _validator_file(part).unlink(missing_ok=True)
                return
            _discard(part)
            if not pieced:
                break
            # The pieces may stem from two versions of the file: once more in one.
        raise UserError(
            f"{url} is not the file that was published: its checksum is {actual}, "
            f"{remote.checksum_from} says {remote.checksum}; try another mirror, or download "
            "the data by hand and give its path"
        )
    except OSError as error:
        raise UserError(f"cannot write {destination}: {error.strerror or error}") from None


def hash_file(path: Path, algorithm: str) -> str:
    """Hash a file: `algorithm:hexadecimal`, for `md5` or `sha256`."""
    with path.open("rb") as file:
        # MD5 is what GroupLens publishes; it guards against accidents, not against forgery.
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return f"{algorithm}:{digest.hexdigest()}"


def _transfer(
    url: str,
    remote: RemoteFile,
    part: Path,
    progress: Progress,
    wait: Callable[[float], None],
) -> bool:
    """Bring `part` to its full length; say whether it took more than one piece."""
    import httpx

    pieced = False
    with httpx.Client(follow_redirects=True, timeout=_TIMEOUT) as client:
        for attempt in range(1, ATTEMPTS + 1):
            pieced = pieced or _arrived(part) > 0
            try:
                _request(client, url, remote, part, progress)
            except httpx.UnsupportedProtocol as error:
                raise UserError(f"cannot download {url}: {error}") from None
            except (httpx.TransportError, _BrokenOffError) as error:
                reason = str(error) or type(error).__name__
                if attempt == ATTEMPTS:
                    raise UserError(
                        f"cannot download {url}: {reason}; {_arrived(part):,} bytes are kept, "
                        "so run the command again to go on"
                    ) from None
                progress(f"{remote.name}: {reason}, trying again", _arrived(part), None)
                wait(2.0 ** (attempt - 1))
            except (httpx.InvalidURL, httpx.HTTPError) as error:
                raise UserError(f"cannot download {url}: {error}") from None
            else:
                break
    return pieced


def _request(
    client: "httpx.Client", url: str, remote: RemoteFile, part: Path, progress: Progress
) -> None:
    """Ask once for what is missing of `part`, and append it."""
    offset = _arrived(part)
    with client.stream("GET", url, headers=_headers(part, offset)) as response:
        start = _start_of_body(response, part, offset, url)
        if start is None:
            return
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else None
        if total is not None and total > remote.max_bytes:
            raise _too_large(url, remote, part)
        _remember_validator(part, response)
        with part.open("ab" if start else "wb") as file:
            done = start
            progress(remote.name, done, total)
            # Written as it arrives: what is gathered first is lost when the connection breaks.
            for chunk in response.iter_raw():
                done += len(chunk)
                if done > remote.max_bytes:
                    raise _too_large(url, remote, part)
                file.write(chunk)
                progress(remote.name, done, total)
    if total is not None and done != total:
        raise _BrokenOffError(f"{done:,} of {total:,} bytes came")


def _start_of_body(response: "httpx.Response", part: Path, offset: int, url: str) -> int | None:
    """Where in the file the body begins; `None` where nothing is missing."""
    status = response.status_code
    if status == 200:
        return 0
    content_range = response.headers.get("Content-Range", "")
    if status == 206 and content_range.startswith(f"bytes {offset}-"):
        return offset
    if status == 416 and content_range == f"bytes */{offset}":
        return None
    if status in (206, 416):
        _discard(part)
        raise _BrokenOffError("the server does not go on where the transfer broke")
    if status in _PASSING:
        raise _BrokenOffError(f"the server answers {status}")
    raise UserError(f"cannot download {url}: the server answers {status} {response.reason_phrase}")


def _headers(part: Path, offset: int) -> dict[str, str]:
    """What to send: the bytes as they lie there, from `offset` on if the file is still the same."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "perennial"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if _validator_file(part).is_file():
            headers["If-Range"] = _validator_file(part).read_text(encoding="ascii")
    return headers


def _remember_validator(part: Path, response: "httpx.Response") -> None:
    """Keep what tells this version of the file from the next, for the attempt to go on."""
    etag = response.headers.get("ETag", "")
    # A weak tag does not promise equal bytes.
    known = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
    if known.isascii() and known:
        _validator_file(part).write_text(known, encoding="ascii")
    else:
        _validator_file(part).unlink(missing_ok=True)


def _validator_file(part: Path) -> Path:
    """Where the version of `part` is kept."""
    return part.with_name(part.name + "-version")


def _arrived(part: Path) -> int:
    """Bytes that lie there."""
    return part.stat().st_size if part.is_file() else 0


def _discard(part: Path) -> None:
    """Forget what has arrived."""
    part.unlink(missing_ok=True)
    _validator_file(part).unlink(missing_ok=True)


def _too_large(url: str, remote: RemoteFile, part: Path) -> UserError:
    """Refuse a file that cannot be the one that was asked for, and forget it."""
    _discard(part)
    return UserError(f"{url} is larger than the {remote.max_bytes:,} bytes expected; not taken")

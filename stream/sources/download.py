"""Download of one file: verified, resumed after an interruption, and renamed only when complete."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perennial.storage.atomic import commit
from perennial.storage.base import Progress, ignore_progress
from perennial.storage.errors import UserError

if TYPE_CHECKING:
    import httpx

ATTEMPTS = 5
"""Number of attempts at a transfer; each resumes where the last one was interrupted."""

_TIMEOUT = 30.0
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)
"""Status codes of errors that may be temporary."""


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
        folder: address of its folder, ending in `/`; a mirror replaces this part.
        checksum: `md5:…` or `sha256:…`, in lower-case hexadecimal.
        max_bytes: largest size; a larger transfer is stopped.
    """

    folder: str
    name: str
    checksum: str
    checksum_from: str
    max_bytes: int

    def url(self, mirror: str | None = None) -> str:
        """Return the address of the file, or of its copy on a mirror."""
        return (self.folder if mirror is None else mirror.rstrip("/") + "/") + self.name


class _InterruptedError(Exception):
    """A transfer ended early and can be resumed."""


def fetch(
    remote: RemoteFile,
    destination: Path,
    *,
    mirror: str | None = None,
    progress: Progress = ignore_progress,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Download a file and verify its checksum.

    Received bytes are kept next to the destination as `NAME.part`, so that the next attempt, or the
    next call, requests only the rest; a file that changed in between is downloaded from the start.
    The destination appears by an atomic rename, complete and verified; if it exists already,
    nothing is downloaded. Its folder must exist. A mirror is the address of another folder, and
    `wait` is called with the seconds to sleep between attempts.

    Raises:
        UserError: refused, unreachable after `ATTEMPTS`, too large, or not the published file. The
            destination does not exist then.
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
            # The pieces may be of two versions of the file: try once more in one piece.
        raise UserError(
            f"{url} is not the file that was published: its checksum is {actual}, "
            f"{remote.checksum_from} gives {remote.checksum}; try another mirror, or download "
            "the data by hand and give its path"
        )
    except OSError as error:
        raise UserError(f"cannot write {destination}: {error.strerror or error}") from None


def hash_file(path: Path, algorithm: str) -> str:
    """Hash a file: `algorithm:hexadecimal`, for `md5` or `sha256`."""
    with path.open("rb") as file:
        # GroupLens publishes MD5: it protects against accidents, not against forgery.
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return f"{algorithm}:{digest.hexdigest()}"


def _transfer(
    url: str, remote: RemoteFile, part: Path, progress: Progress, wait: Callable[[float], None]
) -> bool:
    """Download the rest of `part`; return True if it now consists of more than one piece."""
    import httpx

    pieced = False
    with httpx.Client(follow_redirects=True, timeout=_TIMEOUT) as client:
        for attempt in range(1, ATTEMPTS + 1):
            pieced = pieced or _arrived(part) > 0
            try:
                _request(client, url, remote, part, progress)
            except httpx.UnsupportedProtocol as error:
                raise UserError(f"cannot download {url}: {error}") from None
            except (httpx.TransportError, _InterruptedError) as error:
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
    """Request the missing rest of `part` once, and append it."""
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
            # Written as it arrives: buffered bytes are lost when the connection breaks.
            for chunk in response.iter_raw():
                done += len(chunk)
                if done > remote.max_bytes:
                    raise _too_large(url, remote, part)
                file.write(chunk)
                progress(remote.name, done, total)
    if total is not None and done != total:
        raise _InterruptedError(f"{done:,} of {total:,} bytes came")


def _start_of_body(response: "httpx.Response", part: Path, offset: int, url: str) -> int | None:
    """Return the position in the file where the body begins; `None` if nothing is missing."""
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
        raise _InterruptedError("the server does not go on where the transfer broke")
    if status in _TEMPORARY:
        raise _InterruptedError(f"the server answers {status}")
    raise UserError(f"cannot download {url}: the server answers {status} {response.reason_phrase}")


def _headers(part: Path, offset: int) -> dict[str, str]:
    """Return headers that request raw bytes, from `offset` on if the file is unchanged."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "perennial"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if _validator_file(part).is_file():
            headers["If-Range"] = _validator_file(part).read_text(encoding="ascii")
    return headers


def _remember_validator(part: Path, response: "httpx.Response") -> None:
    """Store the tag of this version of the file, with which an attempt can resume."""
    etag = response.headers.get("ETag", "")
    # A weak tag does not promise equal bytes.
    known = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
    if known.isascii() and known:
        _validator_file(part).write_text(known, encoding="ascii")
    else:
        _validator_file(part).unlink(missing_ok=True)


def _validator_file(part: Path) -> Path:
    return part.with_name(part.name + "-version")


def _arrived(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator_file(part).unlink(missing_ok=True)


def _too_large(url: str, remote: RemoteFile, part: Path) -> UserError:
    """Delete a partial file that is too large, and return the error to raise."""
    _discard(part)
    return UserError(f"{url} is larger than the {remote.max_bytes:,} bytes expected; not taken")

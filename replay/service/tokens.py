"""The secret that a service asks for."""

import os
from pathlib import Path

from storage.errors import UserError

VARIABLE = "PERENNIAL_TOKEN"
_SHORTEST = 16


def read_token(file: Path | None) -> str | None:
    """From a file, else from the environment; `None` where neither has one.

    Raises:
        UserError: the file cannot be read, or what it holds is no good token.
    """
    if file is None:
        token, where = os.environ.get(VARIABLE, "").strip(), VARIABLE
        if not token:
            return None
    else:
        where = str(file)
        try:
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            words = getattr(error, "strerror", None) or "no text"
            raise UserError(f"{file}: cannot be read ({words}); name the token's file") from None
    if len(token) < _SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise UserError(
            f"{where}: a token is one word of {_SHORTEST} or more ASCII characters; make one with "
            '`python -c "import secrets; print(secrets.token_urlsafe())"`'
        )
    return token

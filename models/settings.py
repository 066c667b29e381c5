"""From names and values that came as text to a frozen dataclass."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from perennial.storage.errors import UserError


def require(holds: bool, message: str) -> None:
    """Raise `ValueError` with a message unless something holds."""
    if not holds:
        raise ValueError(message)


def build(kind: str, name: str, target: type[Any], settings: Mapping[str, Any]) -> Any:
    """Make a `target` with some of its fields set.

    Args:
        kind: what it is, for the message: `model`, `strategy`.
        name: of it, likewise.
        target: a frozen dataclass, or a class without settings.
        settings: field -> value; text is converted to the field's type.

    Raises:
        UserError: unknown field, or a value that does not fit.
    """
    from pydantic import TypeAdapter, ValidationError

    known = {f.name for f in dataclasses.fields(target)} if dataclasses.is_dataclass(target) else {}
    for setting in settings:
        if setting not in known:
            has = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise UserError(f"{kind} '{name}' has no setting '{setting}'; {has}")
    if not known:
        return target()
    try:
        return TypeAdapter(target).validate_python(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{kind} '{name}', setting '{where}': {first['msg']}") from None

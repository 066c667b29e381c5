"""What is asked over HTTP and what is answered, with its bounds: the OpenAPI document's source."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)

MAX_ITEMS = 1000
MAX_K = 1000
MAX_LENGTH = 1000
_LARGEST = 2**53 - 1
"""Whole numbers up to here mean the same to all who read JSON; longer ones are sent as text."""


_HALF = re.compile("[\ud800-\udfff]")


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 5.0 is 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _identifier(value: Any) -> str:
    """As text: the store finds whole numbers by their text too."""
    value = _whole(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST:
        return str(value)
    # Half of a surrogate pair can stand in JSON, but is no character and cannot be sent back.
    if isinstance(value, str) and 1 <= len(value) <= MAX_LENGTH and not _HALF.search(value):
        return value
    raise ValueError(f"give a text of 1 to {MAX_LENGTH:,} characters or a whole number")


Identifier = Annotated[
    str,
    BeforeValidator(_identifier),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH},
                {"type": "integer", "minimum": -_LARGEST, "maximum": _LARGEST},
            ],
            "description": "An identifier as it went into the store.",
        }
    ),
]


class _Wishes(BaseModel):
    """What both kinds of question share."""

    model_config = ConfigDict(extra="forbid", strict=True)

    k: Annotated[int, BeforeValidator(_whole)] = Field(
        10, ge=1, le=MAX_K, description="How many recommendations."
    )
    exclude: list[Identifier] = Field(
        default_factory=list, max_length=MAX_ITEMS, description="Items to leave out."
    )
    exclude_seen: bool = Field(True, description="Leave out what they have had already.")
    why: bool = Field(False, description="Say which training rows speak for each answer.")


class ForUser(_Wishes):
    """Recommend to a user that the published model knows."""

    user: Identifier


class ForItems(_Wishes):
    """Recommend to someone unknown who likes these items."""

    items: list[Identifier] = Field(min_length=1, max_length=MAX_ITEMS)


def _kind(asked: Any) -> str | None:
    if not isinstance(asked, dict) or ("user" in asked) == ("items" in asked):
        return None
    return "ForUser" if "user" in asked else "ForItems"


Asked = Annotated[
    Annotated[ForUser, Tag("ForUser")] | Annotated[ForItems, Tag("ForItems")],
    Discriminator(
        _kind,
        custom_error_type="user_or_items",
        custom_error_message="give an object with either user or items",
    ),
]
"""The body of `POST /recommend`."""

_WORD = {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH}
_WORDS = {
    "type": "string",
    "pattern": f"^[^,]{{1,{MAX_LENGTH}}}(,[^,]{{1,{MAX_LENGTH}}}){{0,{MAX_ITEMS - 1}}}$",
}


class AskedInAddress(BaseModel):
    """The query of `GET /recommend`."""

    model_config = ConfigDict(extra="forbid")

    user: Annotated[str | None, WithJsonSchema(_WORD)] = Field(
        None, description="A user that the published model knows."
    )
    items: Annotated[str | None, WithJsonSchema(_WORDS)] = Field(
        None,
        description="Instead of a user: the items that someone unknown likes, with commas between.",
    )
    k: int = Field(10, ge=1, le=MAX_K, description="How many recommendations.")
    exclude: Annotated[str | None, WithJsonSchema(_WORDS)] = Field(
        None, description="Items to leave out, with commas between."
    )
    exclude_seen: Literal["true", "false"] = Field(
        "true", description="Leave out what they have had already."
    )
    why: Literal["true", "false"] = Field(
        "false", description="Say which training rows speak for each answer."
    )

    def as_body(self) -> dict[str, Any]:
        """The same question as a body, to be checked as one."""
        body: dict[str, Any] = {
            "k": self.k,
            "exclude_seen": self.exclude_seen == "true",
            "why": self.why == "true",
        }
        if self.user is not None:
            body["user"] = self.user
        for name in ("items", "exclude"):
            text = getattr(self, name)
            if text is not None:
                body[name] = text.split(",")
        return body


class SharedItem(BaseModel):
    """An item that the asker and a training row have in common."""

    item: str | int
    title: str | None = None


class ReasonGiven(BaseModel):
    """A training row that speaks for an item; whose it is stays untold."""

    row: int = Field(description="1 for the one that contributes most, and so on.")
    contribution: float = Field(description="What it adds to the score.")
    share: float = Field(description="Of all that rows add where they add, 0 to 1.")
    similarity: float = Field(description="With the asker; 1 for the same items.")
    kind: Literal["remembered", "newest", "user", "unknown"] = Field(
        description="A row of the memory, a user of the newest period, one of any, or one of these."
    )
    shared: list[SharedItem] = Field(description="Items in common, rarest first, not all of them.")
    num_shared: int = Field(description="How many items they have in common.")


class Recommended(BaseModel):
    """An item for someone."""

    item: str | int
    score: float = Field(description="The model's; only the order of one answer's scores counts.")
    title: str | None = Field(None, description="Where the store has one.")
    reasons: list[ReasonGiven] | None = Field(
        None, description="Where asked for, strongest first, if the model can tell."
    )


class Recommendations(BaseModel):
    """Items for someone, best first, and the published model that they come from."""

    period: int = Field(description="Newest period that the model has seen.")
    published: datetime = Field(description="When the model was published.")
    model: str
    strategy: str
    recommendations: list[Recommended]


class Health(BaseModel):
    """That a model answers, and which."""

    period: int
    published: datetime
    fit_key: str = Field(description="The first characters of the fit's key.")
    uptime_seconds: float


class Failure(BaseModel):
    """Why a request was not served."""

    error: str = Field(description="One line: what is wrong, and what to do.")


def describe_errors(errors: Sequence[Any]) -> str:
    """What pydantic found, in one line without the values that were sent."""
    first = errors[0]
    left_out = ("body", "query", "ForUser", "ForItems")
    where = ".".join(str(part) for part in first["loc"] if part not in left_out)
    what = str(first["msg"]).removeprefix("Value error, ")
    what = what[:1].lower() + what[1:]
    if first["type"] == "json_invalid":
        where, what = "", "the body is no valid JSON"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    # Names of unknown fields are the sender's: any length, any characters.
    where = "".join(char if char.isprintable() else "?" for char in where[:100])
    return f"{where + ': ' if where else ''}{what}{more}"

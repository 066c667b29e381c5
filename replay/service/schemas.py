"""Queries and responses over HTTP, with their bounds: the source of the OpenAPI document."""

import re
from collections.abc import Mapping, Sequence
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

from perennial.replay.recommend.recommender import RecommendationQuery
from perennial.storage.base import describe_invalid
from perennial.storage.reading.identifier_forms import LARGEST_JSON_INTEGER, to_json_identifier

MAX_ITEMS = 1000
MAX_K = 1000
MAX_LENGTH = 1000
_SURROGATE = re.compile("[\ud800-\udfff]")


def _to_integer(value: object) -> object:
    """Convert 5.0 to 5: JSON has one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _to_identifier(value: object) -> str:
    """Convert an identifier to text, by which the store finds integers too."""
    value = _to_integer(value)
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and abs(value) <= LARGEST_JSON_INTEGER
    ):
        return str(value)
    # JSON may contain half of a surrogate pair, which is no character and cannot be sent back.
    if isinstance(value, str) and 1 <= len(value) <= MAX_LENGTH and not _SURROGATE.search(value):
        return value
    raise ValueError(
        f"give a text of 1 to {MAX_LENGTH:,} characters or a whole number; one beyond "
        f"{LARGEST_JSON_INTEGER:,} as text"
    )


_INTEGER = {"type": "integer", "minimum": -LARGEST_JSON_INTEGER, "maximum": LARGEST_JSON_INTEGER}

Identifier = Annotated[
    str,
    BeforeValidator(_to_identifier),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "minLength": 1, "maxLength": MAX_LENGTH}, _INTEGER],
            "description": "An identifier; of a whole number its text will do, and 5.0 is 5.",
        }
    ),
]

AnsweredIdentifier = Annotated[
    str | int,
    BeforeValidator(to_json_identifier),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, _INTEGER],
            "description": "An identifier; one beyond the integers of JavaScript is text.",
        }
    ),
]


class _QueryOptions(BaseModel):
    """Fields of both kinds of query."""

    model_config = ConfigDict(extra="forbid", strict=True)

    k: Annotated[int, BeforeValidator(_to_integer)] = Field(
        10, ge=1, le=MAX_K, description="Number of items to recommend."
    )
    exclude: list[Identifier] = Field(
        default_factory=list, max_length=MAX_ITEMS, description="Items to leave out."
    )
    exclude_seen: bool = Field(True, description="Leave out the items of the user's history.")
    why: bool = Field(False, description="Name the training rows that raise each item's score.")

    def to_query(self) -> RecommendationQuery:
        """Return the query for the recommender."""
        fields = self.model_dump()
        for name in ("items", "exclude"):
            fields[name] = tuple(fields.get(name, ()))
        return RecommendationQuery(**fields)


class UserQuery(_QueryOptions):
    """Query for a user of the published model."""

    user: Identifier


class ItemsQuery(_QueryOptions):
    """Query for an unknown user who likes these items."""

    items: list[Identifier] = Field(min_length=1, max_length=MAX_ITEMS)


def _query_tag(body: object) -> str | None:
    if not isinstance(body, Mapping) or ("user" in body) == ("items" in body):
        return None
    return "UserQuery" if "user" in body else "ItemsQuery"


_USER_OR_ITEMS = "user_or_items"

QueryBody = Annotated[
    Annotated[UserQuery, Tag("UserQuery")] | Annotated[ItemsQuery, Tag("ItemsQuery")],
    Discriminator(
        _query_tag,
        custom_error_type=_USER_OR_ITEMS,
        custom_error_message="give an object with either user or items",
    ),
]
"""Body of `POST /recommend`."""

_NAME = {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH}
_NAMES = {
    "type": "string",
    "pattern": f"^[^,]{{1,{MAX_LENGTH}}}(,[^,]{{1,{MAX_LENGTH}}}){{0,{MAX_ITEMS - 1}}}$",
}


class QueryParameters(BaseModel):
    """Parameters of `GET /recommend`."""

    model_config = ConfigDict(extra="forbid")

    user: Annotated[str | None, WithJsonSchema(_NAME)] = Field(
        None, description="A user of the published model."
    )
    items: Annotated[str | None, WithJsonSchema(_NAMES)] = Field(
        None, description="Instead of a user: items that an unknown user likes, comma-separated."
    )
    k: int = Field(10, ge=1, le=MAX_K, description="Number of items to recommend.")
    exclude: Annotated[str | None, WithJsonSchema(_NAMES)] = Field(
        None, description="Items to leave out, comma-separated."
    )
    exclude_seen: Literal["true", "false"] = Field(
        "true", description="Leave out the items of the user's history."
    )
    why: Literal["true", "false"] = Field(
        "false", description="Name the training rows that raise each item's score."
    )

    def to_body(self) -> dict[str, object]:
        """Return the query as a body of `POST /recommend`, not yet validated."""
        body: dict[str, object] = {
            "k": self.k,
            "exclude_seen": self.exclude_seen == "true",
            "why": self.why == "true",
        }
        if self.user is not None:
            body["user"] = self.user
        for name, value in (("items", self.items), ("exclude", self.exclude)):
            if value is not None:
                body[name] = value.split(",")
        return body


class _FromAttributes(BaseModel):
    """Response that is read from the recommender's dataclasses."""

    model_config = ConfigDict(from_attributes=True)


class CommonItemResponse(_FromAttributes):
    """An item that the query's context and a training row have in common."""

    item: AnsweredIdentifier
    title: str | None = None


class ReasonResponse(_FromAttributes):
    """A training row that raises the score of an item; its user is not named."""

    row: int = Field(description="Rank of the row by contribution, from 1.")
    contribution: float = Field(description="Part of the score that comes from the row.")
    share: float = Field(description="Share of all positive contributions, 0 to 1.")
    similarity: float = Field(description="Similarity of row and context; 1 for the same items.")
    kind: Literal["remembered", "newest", "user", "unknown"] = Field(
        description="A row of the memory, a user of the newest period, one of any, or one of these."
    )
    shared: list[CommonItemResponse] = Field(
        description="Items in common, rarest first, not all of them."
    )
    num_shared: int = Field(description="Number of items in common.")


class ItemResponse(_FromAttributes):
    """One recommended item."""

    item: AnsweredIdentifier
    score: float = Field(
        description="Score of the model; only the order within one response has a meaning."
    )
    title: str | None = Field(None, description="Title, if the store has one.")
    reasons: Annotated[
        list[ReasonResponse] | None, BeforeValidator(lambda reasons: reasons or None)
    ] = Field(
        None, description="If requested, and if the model can explain: strongest reason first."
    )


class RecommendationsResponse(BaseModel):
    """Recommended items, best first, and the published model that they come from."""

    period: int = Field(description="Newest period that the model was fitted on.")
    published: datetime = Field(description="Time of the model's publication.")
    model: str
    strategy: str
    recommendations: list[ItemResponse]


class HealthResponse(BaseModel):
    """The model in service."""

    period: int
    published: datetime
    fit_key: str = Field(description="First characters of the fit's key.")
    uptime_seconds: float


class ErrorResponse(BaseModel):
    """Reason for which a request was not served."""

    error: str = Field(description="Cause and remedy, in one line.")


def describe_errors(errors: Sequence[Any]) -> str:
    """Return pydantic's errors in one line, without the values that were sent."""
    first = errors[0]
    left_out = ("body", "query", "UserQuery", "ItemsQuery")
    where = ".".join(str(part) for part in first["loc"] if part not in left_out)
    is_own = first["type"] == _USER_OR_ITEMS
    what = str(first["msg"]) if is_own else describe_invalid(first)
    if first["type"] == "json_invalid":
        where, what = "", "the body is no valid JSON"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    # Names of unknown fields come from the client: any length, any characters.
    where = "".join(char if char.isprintable() else "?" for char in where[:100])
    return f"{where + ': ' if where else ''}{what}{more}"

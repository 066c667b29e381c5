"""The service as an ASGI application: its routes, and the layers around them."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPBearer
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from perennial.replay.live.status import LiveStatus
from perennial.replay.recommend.catalogue import UnknownName
from perennial.replay.recommend.reasons import Reason
from perennial.replay.recommend.recommender import (
    RecommendationQuery,
    RecommendedItem,
    Recommender,
)
from perennial.replay.service.limits import RETRY_AFTER, Refusal, ServiceLimits, WorkQueue
from perennial.replay.service.monitoring import CONTENT_TYPE, MonitoredApp, ServiceMetrics
from perennial.replay.service.reload import CurrentModel, StatusReader
from perennial.replay.service.schemas import (
    Asked,
    AskedInAddress,
    Failure,
    ForItems,
    ForUser,
    Health,
    ReasonGiven,
    Recommendations,
    Recommended,
    SharedItem,
    describe_errors,
)
from perennial.replay.service.security import GuardedApp
from perennial.replay.service.static import site_files, site_route
from perennial.storage.errors import UserError

_ASKED: TypeAdapter[ForUser | ForItems] = TypeAdapter(Asked)
_MEANINGS = {
    400: "The host name is not one of the service's.",
    401: "A token is needed.",
    404: "No such user or item in the published model.",
    408: "The body did not come in time.",
    413: "The body is too long.",
    415: "The body is not JSON.",
    422: "The question is not understood.",
    431: "Address and headers are too long.",
    429: "Too much work waits already.",
    503: "Nothing is published yet, the store cannot be read, or no answer came in time.",
}


@dataclass(frozen=True)
class Service:
    """What the routes work with.

    Attributes:
        current: the model that answers.
        metrics: where everything is counted.
        status: reads the live state.
        scoring: where questions are answered.
        reading: where the state is read.
        started: when the service did, on the clock that only runs forward.
    """

    current: CurrentModel
    metrics: ServiceMetrics
    status: StatusReader
    scoring: WorkQueue
    reading: WorkQueue = field(default_factory=lambda: WorkQueue("reading", 1, 16))
    started: float = field(default_factory=time.monotonic)

    def close(self) -> None:
        """Drop what waits."""
        self.scoring.close()
        self.reading.close()

    def answers(self) -> Recommender:
        """The model for one request, from its start to its end.

        Raises:
            Refusal: 503, there is none.
        """
        if self.current.answers is None:
            line = "no model is published yet; `perennial ingest` publishes one"
            raise Refusal(503, line, RETRY_AFTER)
        return self.current.answers

    async def recommend(self, asked: ForUser | ForItems) -> Recommendations:
        """Answer one question.

        Raises:
            Refusal: 404, 422, 429 or 503.
        """
        answers = self.answers()
        question = RecommendationQuery(
            user=asked.user if isinstance(asked, ForUser) else None,
            items=tuple(asked.items) if isinstance(asked, ForItems) else (),
            k=asked.k,
            exclude=tuple(asked.exclude),
            exclude_seen=asked.exclude_seen,
            why=asked.why,
        )
        try:
            found = await self.scoring.do(lambda: answers.recommend(question))
        except UnknownName as error:
            raise Refusal(404, str(error)) from None
        except UserError as error:
            raise Refusal(422, str(error)) from None
        return _as_message(answers, found)


def create_app(
    service: Service,
    limits: ServiceLimits,
    *,
    token: str | None = None,
    hosts: Iterable[str] | None = None,
) -> ASGIApp:
    """Put the service together.

    Args:
        service: what the routes work with.
        limits: of a request.
        token: that all routes ask for but `/health` and the files of the pages, which hold nothing
            and must come first for a person to have a place to enter it.
        hosts: names that requests may be addressed to; `None` for any.
    """
    app = FastAPI(
        title="Perennial",
        description="Recommendations from the newest published model of a store.",
        version=version("perennial"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        exception_handlers=_handlers(),
    )
    needs_token = [] if token is None else [Depends(HTTPBearer(auto_error=False))]
    early = (*(() if hosts is None else (400,)), 408, 413, 431)
    always = early if token is None else (*early, 401)
    app.include_router(_open_routes(service, early))
    app.include_router(_asking_routes(service, always), dependencies=needs_token)
    app.include_router(_state_routes(service, always), dependencies=needs_token)
    files = site_files()
    app.router.routes.extend(site_route(one) for one in files)
    open_paths = {one.path for one in files} | {"/health"}
    guarded = GuardedApp(app, limits, token=token, open_paths=open_paths, hosts=hosts)
    known = {*open_paths, "/recommend", "/metrics", "/status", "/openapi.json"}
    return MonitoredApp(guarded, service.metrics, known)


def _asking_routes(service: Service, always: Sequence[int]) -> APIRouter:
    router = APIRouter(tags=["recommendations"], responses=_refusals(*always, 404, 422, 429, 503))

    @router.post(
        "/recommend",
        dependencies=[Depends(_check_json)],
        responses=_refusals(415),
        response_model_exclude_none=True,
    )
    async def recommend(asked: Annotated[Asked, Body()]) -> Recommendations:
        """Recommend to a user, or to someone unknown who likes some items."""
        return await service.recommend(asked)

    @router.get("/recommend", response_model_exclude_none=True)
    async def recommend_by_address(asked: Annotated[AskedInAddress, Query()]) -> Recommendations:
        """The same, asked in the address: with either `user` or `items`.

        Addresses end up in the logs of proxies; `POST` keeps who asks out of them.
        """
        try:
            checked = _ASKED.validate_python(asked.as_body())
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from None
        return await service.recommend(checked)

    return router


def _state_routes(service: Service, always: Sequence[int]) -> APIRouter:
    router = APIRouter(tags=["state"], responses=_refusals(*always, 503))

    @router.get("/status", response_model=LiveStatus, responses=_refusals(429))
    async def status() -> Response:
        """What is published, how good it was period by period, and what it remembers."""
        return JSONResponse(await service.reading.do(service.status.read))

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """What is counted, for Prometheus."""
        return Response(service.metrics.render(), headers={"content-type": CONTENT_TYPE})

    return router


def _open_routes(service: Service, always: Sequence[int]) -> APIRouter:
    router = APIRouter(tags=["state"], responses=_refusals(*always, 503))

    @router.get("/health")
    async def health() -> Health:
        """Whether a model answers; needs no token."""
        answers = service.answers()
        return Health(
            period=answers.period,
            published=answers.published.replace(tzinfo=UTC),
            fit_key=answers.fit_key[:12],
            uptime_seconds=round(time.monotonic() - service.started, 3),
        )

    return router


def _check_json(request: Request) -> None:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, "send the question as JSON, with `Content-Type: application/json`")


def _as_message(answers: Recommender, found: Sequence[RecommendedItem]) -> Recommendations:
    return Recommendations(
        period=answers.period,
        published=answers.published.replace(tzinfo=UTC),
        model=answers.model_name,
        strategy=answers.strategy,
        recommendations=[
            Recommended(
                item=one.item,
                score=one.score,
                title=one.title,
                reasons=[_as_reason(reason) for reason in one.reasons] or None,
            )
            for one in found
        ],
    )


def _as_reason(reason: Reason) -> ReasonGiven:
    return ReasonGiven(
        row=reason.row,
        contribution=reason.contribution,
        share=reason.share,
        similarity=reason.similarity,
        kind=reason.kind,
        shared=[SharedItem(item=one.item, title=one.title) for one in reason.shared],
        num_shared=reason.num_shared,
    )


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How refusals are documented."""
    documented: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        documented[status] = {"model": Failure, "description": _MEANINGS[status]}
        if status in (429, 503):
            when = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
            documented[status]["headers"] = {"Retry-After": when}
    return documented


def _handlers() -> dict[Any, Any]:
    """Every error as one line of JSON."""

    async def refused(_request: Request, error: Refusal) -> Response:
        return JSONResponse({"error": error.line}, error.status, headers=error.headers)

    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        return JSONResponse({"error": describe_errors(error.errors())}, 422)

    async def plain(request: Request, error: HTTPException) -> Response:
        # What the framework cannot parse at all (too deep, no UTF-8) it calls 400.
        status = 422 if error.status_code == 400 else error.status_code
        lines = {
            404: "no such page; /docs lists what there is",
            405: "this page is asked for in another way; see /docs",
            422: "the body is no valid JSON",
        }
        told = lines.get(status, str(error.detail))
        headers = dict(error.headers or {})
        if status == 405:
            # The framework names the methods of one route; another may have the same path.
            methods = request.app.openapi()["paths"].get(request.url.path, {})
            headers["Allow"] = ", ".join(sorted(map(str.upper, methods))) or headers["Allow"]
        return JSONResponse({"error": told}, status, headers=headers)

    return {Refusal: refused, RequestValidationError: invalid, HTTPException: plain}

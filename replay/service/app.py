"""ASGI application of the service: its routes, their errors, and the layers around them."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.security import HTTPBearer
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp

from perennial.replay.live.status import LiveStatus
from perennial.replay.recommend.catalogue import UnknownName
from perennial.replay.recommend.recommender import RecommendedItem, Recommender
from perennial.replay.service.limits import RETRY_AFTER, Refusal, ServiceLimits, WorkQueue
from perennial.replay.service.monitoring import CONTENT_TYPE, MonitoredApp, ServiceMetrics
from perennial.replay.service.reload import CurrentModel, StatusReader
from perennial.replay.service.schemas import (
    ErrorResponse,
    HealthResponse,
    ItemResponse,
    ItemsQuery,
    QueryBody,
    QueryParameters,
    RecommendationsResponse,
    UserQuery,
    describe_errors,
)
from perennial.replay.service.security import GuardedApp
from perennial.storage.errors import UserError

_BODY: TypeAdapter[UserQuery | ItemsQuery] = TypeAdapter(QueryBody)
_MEANINGS = {
    400: "The request is malformed, or its host name is not one of the service's.",
    401: "A token is needed.",
    404: "No such user or item in the published model.",
    408: "The body did not come in time.",
    413: "The body is too long.",
    415: "The body is not JSON.",
    422: "The query is invalid.",
    431: "Address and headers are too long.",
    429: "Too much work waits already.",
    503: "Nothing is published yet, the store cannot be read, or no answer came in time.",
}
_PAGE = Path(__file__).parent / "page"
_PAGE_FILES = ("app.js", "query.js", "charts.js", "docs.js", "server.js", "style.css", "icon.svg")
_MEDIA_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Service:
    """State that the routes share.

    `drop_erased_users` drops the users that the store no longer has from the current model; the
    service `started` at that time on the monotonic clock.
    """

    current: CurrentModel
    metrics: ServiceMetrics
    status: StatusReader
    scoring: WorkQueue
    drop_erased_users: Callable[[], None] = lambda: None
    reading: WorkQueue = field(default_factory=lambda: WorkQueue("reading", 1, 16))
    started: float = field(default_factory=time.monotonic)

    def close(self) -> None:
        """Drop the waiting work."""
        self.scoring.close()
        self.reading.close()

    def recommender(self) -> Recommender:
        """Return the model that one request uses from its start to its end, or refuse with 503."""
        if self.current.recommender is None:
            message = "no model is published yet; `perennial ingest` publishes one"
            raise Refusal(503, message, RETRY_AFTER)
        return self.current.recommender

    async def recommend(self, body: UserQuery | ItemsQuery) -> RecommendationsResponse:
        """Recommend for one query.

        Raises:
            Refusal: 404, 422, 429 or 503.
        """
        query = body.to_query()

        def answer() -> tuple[Recommender, Sequence[RecommendedItem]]:
            if query.user is not None:
                self.drop_erased_users()
            recommender = self.recommender()
            return recommender, recommender.recommend(query)

        try:
            recommender, items = await self.scoring.run(answer)
        except UnknownName as error:
            raise Refusal(404, str(error)) from None
        except UserError as error:
            raise Refusal(422, str(error)) from None
        return RecommendationsResponse(
            period=recommender.period,
            published=recommender.published.replace(tzinfo=UTC),
            model=recommender.model_name,
            strategy=recommender.strategy,
            recommendations=[ItemResponse.model_validate(item) for item in items],
        )


def create_app(
    service: Service,
    limits: ServiceLimits,
    *,
    token: str | None = None,
    hosts: Iterable[str] | None = None,
) -> ASGIApp:
    """Build the application.

    Every route needs the token, except `/health` and the static files: these contain no data, and a
    browser must load the page before a user can enter the token there. Requests may be addressed to
    `hosts`, to any if `None`.
    """
    app = FastAPI(
        title="Perennial",
        description="Recommendations from the newest published model of a store.",
        version=version("perennial"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        exception_handlers=_error_handlers(),
    )
    needs_token = [] if token is None else [Depends(HTTPBearer(auto_error=False))]
    public = (400, 408, 413, 431)
    protected = public if token is None else (*public, 401)
    app.include_router(_health_routes(service, public))
    app.include_router(_recommendation_routes(service, protected), dependencies=needs_token)
    app.include_router(_state_routes(service, protected), dependencies=needs_token)
    files = _static_files()
    app.router.routes.extend(_static_route(path, file) for path, file in files.items())
    public_paths = {*files, "/health"}
    guarded = GuardedApp(app, limits, token=token, public_paths=public_paths, hosts=hosts)
    routes = {*public_paths, "/recommend", "/metrics", "/status", "/openapi.json"}
    return MonitoredApp(guarded, service.metrics, routes)


def _recommendation_routes(service: Service, refusals: Sequence[int]) -> APIRouter:
    responses = _refusal_responses(*refusals, 404, 422, 429, 503)
    router = APIRouter(tags=["recommendations"], responses=responses)

    @router.post(
        "/recommend",
        dependencies=[Depends(_require_json)],
        responses=_refusal_responses(415),
        response_model_exclude_none=True,
    )
    async def recommend(body: Annotated[QueryBody, Body()]) -> RecommendationsResponse:
        """Recommend to a user, or to an unknown user who likes some items."""
        return await service.recommend(body)

    @router.get("/recommend", response_model_exclude_none=True)
    async def recommend_by_address(
        parameters: Annotated[QueryParameters, Query()],
    ) -> RecommendationsResponse:
        """Recommend for a query in the address, with either `user` or `items`.

        Addresses are logged by proxies; with `POST`, the user's identifier is not.
        """
        try:
            body = _BODY.validate_python(parameters.to_body())
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from None
        return await service.recommend(body)

    return router


def _state_routes(service: Service, refusals: Sequence[int]) -> APIRouter:
    router = APIRouter(tags=["state"], responses=_refusal_responses(*refusals, 503))

    @router.get("/status", response_model=LiveStatus, responses=_refusal_responses(429))
    async def status() -> Response:
        """Return the published period, its metrics period by period, and the memory."""
        return JSONResponse(await service.reading.run(service.status.read))

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """Return the service's metrics for Prometheus."""
        return Response(service.metrics.render(), headers={"content-type": CONTENT_TYPE})

    return router


def _health_routes(service: Service, refusals: Sequence[int]) -> APIRouter:
    router = APIRouter(tags=["state"], responses=_refusal_responses(*refusals, 503))

    @router.get("/health")
    async def health() -> HealthResponse:
        """Return which model is in service; needs no token."""
        recommender = service.recommender()
        return HealthResponse(
            period=recommender.period,
            published=recommender.published.replace(tzinfo=UTC),
            fit_key=recommender.fit_key[:12],
            uptime_seconds=round(time.monotonic() - service.started, 3),
        )

    return router


def _static_files() -> dict[str, Path]:
    """Return path -> file of the page and the OpenAPI page; no other file can be requested."""
    from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]

    swagger = Path(str(swagger_ui_path))
    return {
        "/": _PAGE / "index.html",
        "/docs": _PAGE / "docs.html",
        **{f"/page/{name}": _PAGE / name for name in _PAGE_FILES},
        **{f"/docs/{name}": swagger / name for name in ("swagger-ui.css", "swagger-ui-bundle.js")},
    }


def _static_route(path: str, file: Path) -> Route:
    media_type, headers = _MEDIA_TYPES[file.suffix], {"Cache-Control": "no-cache"}

    async def serve(_request: object) -> FileResponse:
        return FileResponse(file, media_type=media_type, headers=headers)

    return Route(path, serve, methods=["GET"], include_in_schema=False)


def _require_json(request: Request) -> None:
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type != "application/json":
        raise Refusal(415, "send the question as JSON, with `Content-Type: application/json`")


def _refusal_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of refusals, as FastAPI's `responses`."""
    responses: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        responses[status] = {"model": ErrorResponse, "description": _MEANINGS[status]}
        if status in (429, 503):
            header = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
            responses[status]["headers"] = {"Retry-After": header}
    return responses


def _error_handlers() -> dict[Any, Any]:
    """Return handlers that answer every error with one line of JSON."""

    async def handle_refusal(_request: Request, error: Refusal) -> Response:
        return JSONResponse({"error": error.message}, error.status, headers=error.headers)

    async def handle_invalid(_request: Request, error: RequestValidationError) -> Response:
        return JSONResponse({"error": describe_errors(error.errors())}, 422)

    async def handle_http(request: Request, error: HTTPException) -> Response:
        # FastAPI answers 400 to a body that it cannot parse at all (too deep, no UTF-8).
        status = 422 if error.status_code == 400 else error.status_code
        messages = {
            404: "no such page; /docs lists what there is",
            405: "this page takes another method; see /docs",
            422: "the body is no valid JSON",
        }
        headers = dict(error.headers or {})
        if status == 405:
            # Starlette names the methods of one route; another may have the same path.
            methods = request.app.openapi()["paths"].get(request.url.path, {})
            headers["Allow"] = ", ".join(sorted(map(str.upper, methods))) or headers["Allow"]
        message = messages.get(status, str(error.detail))
        return JSONResponse({"error": message}, status, headers=headers)

    return {
        Refusal: handle_refusal,
        RequestValidationError: handle_invalid,
        HTTPException: handle_http,
    }

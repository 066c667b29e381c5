"""The files of the page and of the OpenAPI page, served from here: no content network."""

from dataclasses import dataclass
from pathlib import Path

from starlette.responses import FileResponse
from starlette.routing import Route

_PAGE = Path(__file__).parent / "page"


@dataclass(frozen=True)
class SiteFile:
    """One file of the site.

    Attributes:
        path: in the address.
        file: on the disk.
        media_type: of it.
    """

    path: str
    file: Path
    media_type: str


def site_files() -> tuple[SiteFile, ...]:
    """All files of the site; nothing else of the disk can be asked for."""
    from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]

    swagger = Path(str(swagger_ui_path))
    html, script, style = "text/html", "text/javascript", "text/css"
    return (
        SiteFile("/", _PAGE / "index.html", html),
        SiteFile("/docs", _PAGE / "docs.html", html),
        SiteFile("/page/app.js", _PAGE / "app.js", script),
        SiteFile("/page/asking.js", _PAGE / "asking.js", script),
        SiteFile("/page/charts.js", _PAGE / "charts.js", script),
        SiteFile("/page/docs.js", _PAGE / "docs.js", script),
        SiteFile("/page/server.js", _PAGE / "server.js", script),
        SiteFile("/page/style.css", _PAGE / "style.css", style),
        SiteFile("/page/icon.svg", _PAGE / "icon.svg", "image/svg+xml"),
        SiteFile("/docs/swagger-ui.css", swagger / "swagger-ui.css", style),
        SiteFile("/docs/swagger-ui-bundle.js", swagger / "swagger-ui-bundle.js", script),
    )


def site_route(one: SiteFile) -> Route:
    """The route that serves a file."""

    async def serve(_request: object) -> FileResponse:
        return FileResponse(
            one.file, media_type=one.media_type, headers={"Cache-Control": "no-cache"}
        )

    return Route(one.path, serve, methods=["GET"], include_in_schema=False)

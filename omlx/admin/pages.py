"""`/admin`: the page and its files, all of which are in the package."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from omlx.api.errors import RequestError

FILES = Path(__file__).parent / "static"
# Nothing from elsewhere, nothing inline, nobody's frame: a script that got into a text can't run.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    # Asked again each time, and answered with 304 while it is the same: an update is seen at once.
    "cache-control": "no-cache",
}
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}


def admin_pages(guard: Callable[[Request], Awaitable[None]]) -> APIRouter:
    """The routes, given what refuses foreign host names."""
    router = APIRouter(include_in_schema=False, dependencies=[Depends(guard)])
    files = {file.relative_to(FILES).as_posix(): file for file in FILES.rglob("*") if file.suffix in _TYPES}

    @router.api_route("/", methods=["GET", "HEAD"])  # Claude Code looks with the latter whether somebody is there
    async def start() -> Response:
        return RedirectResponse("/admin")

    @router.get("/admin")
    async def page() -> Response:
        return _file(files["index.html"])

    @router.get("/admin/static/{path:path}")
    async def asset(path: str) -> Response:
        # By what was found at the start: a path from outside is never joined to a folder.
        if path not in files:
            raise RequestError(f"There is no file {path!a}.", code="unknown_url", status=404)
        return _file(files[path])

    return router


def _file(file: Path) -> Response:
    return FileResponse(file, media_type=_TYPES[file.suffix], headers=_HEADERS)

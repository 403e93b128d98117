"""`GET /health`: that the server answers, and what runs behind it."""

from typing import Any

from fastapi import APIRouter, Request

from omlx import __version__
from omlx.api.caller import is_stranger
from omlx.api.ports import Services


def health_routes(services: Services) -> APIRouter:
    """The route, given who knows what runs."""
    router = APIRouter(tags=["Operation"])

    @router.get("/health")
    async def health(http: Request) -> dict[str, Any]:
        """That the server is up, its version, and, for those who may use models, the state of each engine."""
        shown = {} if is_stranger(http.scope) else services.health()
        return {"status": "ok", "version": __version__, **shown}

    return router

"""`GET /health`: that the server answers, and what runs behind it."""

from typing import Any

from fastapi import APIRouter

from omlx import __version__
from omlx.api.ports import Services


def health_routes(services: Services) -> APIRouter:
    """The route, given who knows what runs."""
    router = APIRouter(tags=["Operation"])

    @router.get("/health")
    async def health() -> dict[str, Any]:
        """That the server is up, its version, and the state of each engine."""
        return {"status": "ok", "version": __version__, **services.health()}

    return router

"""What a model can be asked for, by its type, and at which endpoints."""

from collections.abc import Mapping
from typing import Literal

from actors.models import ModelType

Capability = Literal["chat", "completions", "vision", "embeddings", "rerank"]

CAPABILITIES: Mapping[ModelType, tuple[Capability, ...]] = {
    ModelType.LLM: ("chat", "completions"),
    ModelType.VLM: ("chat", "completions", "vision"),
    ModelType.OCR: ("chat", "completions", "vision"),
    ModelType.EMBEDDING: ("embeddings",),
    ModelType.RERANKER: ("rerank",),
}
ENDPOINTS: Mapping[str, Capability] = {
    "/v1/chat/completions": "chat",
    "/v1/messages": "chat",
    "/v1/messages/count_tokens": "chat",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
    "/v1/rerank": "rerank",
    "/v2/rerank": "rerank",
}


def endpoint_for(kind: ModelType) -> str:
    """Where a model of a type is asked for what it is best at."""
    best = CAPABILITIES[kind][0]
    return next(endpoint for endpoint, capability in ENDPOINTS.items() if capability == best)

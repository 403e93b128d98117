"""`POST /v1/embeddings`: texts as vectors."""

import asyncio
from array import array
from base64 import b64encode
from uuid import uuid4

import orjson
from fastapi import APIRouter, Request, Response

from actors.contracts import EmbedJob, TextPrompt, TokenPrompt, Vectors
from omlx.api.body import documented, read_body
from omlx.api.embedding_shapes import EmbeddingList, EmbeddingRequest
from omlx.api.reading import Asking, Reading
from omlx.record import model_request_of

_ENDPOINT = "/v1/embeddings"
_FLOAT_BYTES = 4
_MOST_AT_ONCE = 256 * 1024  # bytes of vectors that are written on the event loop; as JSON numbers, some 10 ms


def embedding_routes(reading: Reading) -> APIRouter:
    """The route, given who has models read."""
    router = APIRouter(tags=["OpenAI"])

    @router.post(_ENDPOINT, **documented(EmbeddingRequest, EmbeddingList))
    async def create_embeddings(http: Request) -> Response:
        """Turn texts into vectors."""
        record = model_request_of(http.scope)
        request = await read_body(http, EmbeddingRequest)
        job = _job(request)
        served, vectors = await reading.result(
            Asking(http, request.model, _ENDPOINT, record), lambda served: reading.services.embed(served, job)
        )
        as_text = request.encoding_format == "base64"
        if len(vectors.data) > _MOST_AT_ONCE:
            body = await asyncio.to_thread(written, vectors, served.name, as_text=as_text)
        else:
            body = written(vectors, served.name, as_text=as_text)
        return Response(body, media_type="application/json")

    return router


def _job(request: EmbeddingRequest) -> EmbedJob:
    return EmbedJob(
        request_id=f"embd-{uuid4().hex}",
        inputs=tuple(TextPrompt(item) if isinstance(item, str) else TokenPrompt(tuple(item)) for item in request.inputs),
        dimensions=request.dimensions,
        truncate=request.cuts,
    )


def written(vectors: Vectors, model: str, *, as_text: bool) -> bytes:
    """An `EmbeddingList` as JSON.

    Args:
        vectors: What the model made.
        model: Its name for clients.
        as_text: Whether each vector is its bytes in base64, not its numbers.
    """
    size = vectors.dimensions * _FLOAT_BYTES
    data = memoryview(vectors.data)
    # Piece by piece, so that other threads get their turns in between.
    items = [
        orjson.Fragment(
            orjson.dumps({"object": "embedding", "index": index, "embedding": _embedding(data[start : start + size], as_text)})
        )
        for index, start in enumerate(range(0, len(data), size))
    ]
    usage = {"prompt_tokens": vectors.prompt_tokens, "total_tokens": vectors.prompt_tokens}
    return orjson.dumps({"object": "list", "data": items, "model": model, "usage": usage})


def _embedding(vector: memoryview, as_text: bool) -> str | list[float]:
    return b64encode(vector).decode() if as_text else array("f", vector.tobytes()).tolist()

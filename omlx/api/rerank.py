"""`POST /v1/rerank` and `/v2/rerank`: documents by how well they answer a query."""

from uuid import uuid4

from fastapi import APIRouter, Request, Response

from actors.contracts import RerankJob, Scores
from omlx.api.body import documented, read_body
from omlx.api.embedding_shapes import ReadingUsage
from omlx.api.reading import Asking, Reading
from omlx.api.rerank_shapes import (
    ApiVersion,
    BilledUnits,
    Meta,
    Ranking,
    RerankRequest,
    Result,
    Tokens,
)
from omlx.record import model_request_of

_UNIT = 100  # documents that Cohere counts as one unit


def rerank_routes(reading: Reading) -> APIRouter:
    """The routes, given who has models read."""
    router = APIRouter(tags=["Jina and Cohere"])

    @router.post("/v1/rerank", **documented(RerankRequest, Ranking))
    async def rerank(http: Request) -> Response:
        """Sort documents by how well they answer a query."""
        return await _answer(reading, http, "1")

    @router.post("/v2/rerank", **documented(RerankRequest, Ranking))
    async def rerank_v2(http: Request) -> Response:
        """The same, where version 2 of Cohere's client looks for it."""
        return await _answer(reading, http, "2")

    return router


async def _answer(reading: Reading, http: Request, version: str) -> Response:
    record = model_request_of(http.scope)
    request = await read_body(http, RerankRequest)
    job = RerankJob(
        f"rerank-{uuid4().hex}", request.query, tuple(document.text for document in request.documents), truncate=request.truncate
    )
    record.answer_id = job.request_id
    served, scores = await reading.result(
        Asking(http, request.model, f"/v{version}/rerank", record), lambda served: reading.services.rerank(served, job)
    )
    ranking = Ranking(
        id=job.request_id,
        model=served.name,
        results=_results(request, scores),
        usage=ReadingUsage(prompt_tokens=scores.prompt_tokens, total_tokens=scores.prompt_tokens),
        meta=Meta(
            api_version=ApiVersion(version=version),
            billed_units=BilledUnits(search_units=-(-len(job.documents) // _UNIT)),
            tokens=Tokens(input_tokens=scores.prompt_tokens),
        ),
    )
    return Response(ranking.model_dump_json(exclude_unset=True), media_type="application/json")


def _results(request: RerankRequest, scores: Scores) -> list[Result]:
    """The best of the documents, those of the same score in the order in which they came."""
    ranked = sorted(enumerate(scores.scores), key=lambda entry: -entry[1])[: request.top_n]
    if not request.return_documents:
        return [Result(index=index, relevance_score=score) for index, score in ranked]
    return [Result(index=index, relevance_score=score, document=request.documents[index]) for index, score in ranked]

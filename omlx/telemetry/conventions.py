"""What OpenTelemetry's conventions for generative AI and for HTTP call the facts of a request.

Source: open-telemetry/semantic-conventions-genai, docs/gen-ai/gen-ai-metrics.md and gen-ai-spans.md.
"""

import ipaddress
from collections.abc import Mapping

from omlx.record import RequestRecord

Attributes = Mapping[str, str | int | float | bool | list[str]]

_PROVIDER = "omlx"
# Whatever else asks a model is a chat. The conventions have no word for reranking.
_OPERATIONS = {
    "/v1/completions": "text_completion", "/v1/embeddings": "embeddings", "/v1/rerank": "rerank", "/v2/rerank": "rerank",
}  # fmt: skip
_GONE = "client_gone"


def server_attributes(host: str, port: int) -> Attributes:
    """Where the server listens; nothing where that is every address, which names none."""
    try:
        if ipaddress.ip_address(host).is_unspecified:
            return {}
    except ValueError:
        pass  # a name
    return {"server.address": host, "server.port": port}


def operation(record: RequestRecord) -> str:
    """What was asked for: `chat`, `text_completion`, `embeddings` or `rerank`."""
    return _OPERATIONS.get(record.endpoint, "chat")


def error_type(record: RequestRecord) -> str:
    """Why a request failed: the error's code, also where the client left amid its answer; empty where it didn't fail."""
    if record.error:
        return record.error
    if record.finish_reason == "abort":
        return _GONE
    return "_OTHER" if is_server_fault(record) or record.status >= 400 else ""


def is_server_fault(record: RequestRecord) -> bool:
    """Whether it failed, and not by what the client sent or did."""
    return record.status >= 500 or record.status == 0 or record.finish_reason == "error"


def measured(record: RequestRecord) -> Attributes:
    """What the series of the metrics differ by: bounded, as models that aren't there have no name in a record."""
    attributes = {"gen_ai.operation.name": operation(record), "gen_ai.provider.name": _PROVIDER}
    if record.model_id:
        attributes["gen_ai.request.model"] = record.model_id
        if record.finish_reason:
            attributes["gen_ai.response.model"] = record.model_id
    return attributes


def failed(record: RequestRecord) -> Attributes:
    """What a failed request has beside that."""
    kind = error_type(record)
    return {"error.type": kind} if kind else {}


def traced(record: RequestRecord) -> Attributes:
    """All that a request's span says of it."""
    return {**measured(record), **failed(record), **_http(record), **_answer(record)}


def _http(record: RequestRecord) -> Attributes:
    attributes: dict[str, str | int | float | bool | list[str]] = {
        "http.request.method": record.method,
        "http.route": record.endpoint,
        "url.path": record.endpoint,  # no route to a model has parameters
        "url.scheme": "http",
        "http.response.header.x-request-id": [record.request_id],
    }
    if record.status:
        attributes["http.response.status_code"] = record.status
    return attributes


def _answer(record: RequestRecord) -> Attributes:
    attributes: dict[str, str | int | float | bool | list[str]] = {}
    if record.prompt_tokens:
        attributes["gen_ai.usage.input_tokens"] = record.prompt_tokens
    if record.finish_reason and record.answer_id:
        attributes["gen_ai.response.id"] = record.answer_id
    if not record.is_generation:
        return attributes
    attributes["gen_ai.request.stream"] = record.stream
    if record.finish_reason:
        attributes["gen_ai.response.finish_reasons"] = [record.finish_reason]
    if record.prompt_tokens:
        attributes["gen_ai.usage.output_tokens"] = record.completion_tokens
    if record.usage is not None:
        attributes["gen_ai.usage.cache_read.input_tokens"] = record.usage.cached_tokens
    first = record.seconds_to_first_token
    if record.stream and first is not None:
        attributes["gen_ai.response.time_to_first_chunk"] = first
    return attributes

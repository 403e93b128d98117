"""What a model can be asked for is said of every type, and each of it at an endpoint that is there."""

from actors.models import ModelType
from omlx.api.capabilities import CAPABILITIES, ENDPOINTS, endpoint_for
from omlx.app import create_app
from tests.fakes.services import FakeServices


def test_every_type_can_do_something_and_names_an_endpoint_for_it():
    assert set(CAPABILITIES) == set(ModelType)
    assert {kind: endpoint_for(kind) for kind in ModelType} == {
        ModelType.LLM: "/v1/chat/completions",
        ModelType.VLM: "/v1/chat/completions",
        ModelType.OCR: "/v1/chat/completions",
        ModelType.EMBEDDING: "/v1/embeddings",
        ModelType.RERANKER: "/v1/rerank",
    }


def test_every_endpoint_is_there():
    assert set(ENDPOINTS) <= set(create_app(FakeServices()).openapi()["paths"])

"""Which places models come from there are, and how each is opened with this process' settings."""

from collections.abc import Callable, Mapping

from omlx.downloads.hub import DEFAULT_ENDPOINT, Hub
from omlx.downloads.hub_source import HubSource
from omlx.downloads.source import Source
from omlx.downloads.token import hub_token, modelscope_token
from omlx.settings import ServeSettings


def open_source(kind: str, asked: ServeSettings) -> Source:
    """A place by its kind. Asks nothing of it.

    Raises `ValueError` for a kind that there isn't, and `AccessError` when its token can't be used.
    """
    if kind not in _SOURCES:
        raise ValueError(f"There is no source '{kind}', only {', '.join(_SOURCES)}.")
    return _SOURCES[kind](asked)


def _hub(asked: ServeSettings) -> Source:
    return HubSource(Hub((asked.hf_endpoint or DEFAULT_ENDPOINT).rstrip("/"), hub_token(asked.base_path)))


def _modelscope(asked: ServeSettings) -> Source:
    from omlx.downloads.modelscope_client import DEFAULT_ENDPOINT, ModelScope
    from omlx.downloads.modelscope_source import ModelScopeSource

    return ModelScopeSource(ModelScope((asked.ms_endpoint or DEFAULT_ENDPOINT).rstrip("/"), modelscope_token(asked.base_path)))


_SOURCES: Mapping[str, Callable[[ServeSettings], Source]] = {"hf": _hub, "modelscope": _modelscope}

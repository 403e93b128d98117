"""Which engine a model gets, by what it is for."""

from collections.abc import Callable
from typing import Any

from actors.contracts import EngineOptions, EngineSpec
from actors.engine.encoder_engine import EncoderEngine
from actors.engine.engine import Engine
from actors.models import ModelInfo

AnyEngine = Engine | EncoderEngine
LoadAny = Callable[[ModelInfo, EngineOptions], Any]  # a `Backend` or an `EncoderBackend`, by the model's type


def new_engine(spec: EngineSpec, load: LoadAny, on_broken: Callable[[str], None]) -> AnyEngine:
    """An engine for a spec; see `Engine` and `EncoderEngine`."""
    return (EncoderEngine if spec.model.type.encodes else Engine)(spec, load, on_broken)

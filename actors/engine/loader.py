"""Loads a model folder for this machine's device. The only place outside `scheduler.mlx` that touches weights.

Importing it sets up what has to come before MLX: a fast BLAS in front of its own, and its way of launching on CUDA.
"""

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from scheduler.mlx.blas import CURE, preload_blas

_blas = preload_blas()
# MLX gathers its operations into CUDA graphs. One for operations that it hasn't met in that order takes tens of milliseconds to make,
# and with sequences that come and go, few steps are alike: without graphs, a step takes 1 ms more and none takes 50.
os.environ.setdefault("MLX_USE_CUDA_GRAPHS", "0")

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import dequantize_model, load_model, load_tokenizer

from actors.contracts import EngineOptions
from actors.engine.backend import Backend
from actors.engine.encoder_backend import EncoderBackend
from actors.engine.known_formats import known_formats
from actors.engine.prompt import NoPictures, ReadsPictures
from actors.engine.vision_loader import Loaded, load_vision, taken_pictures
from actors.models import ModelInfo
from scheduler.mlx import cpu
from scheduler.mlx.cache import kv_cost
from scheduler.mlx.device import device_kind, gpu_memory, total_memory
from scheduler.mlx.head import LastPosition, look_at_last_position
from scheduler.mlx.packed import can_pack
from scheduler.mlx.packed_runner import PackedRunner
from scheduler.mlx.reuse import can_reuse, is_plain, leaves
from scheduler.mlx.runner import MlxRunner
from scheduler.mlx.slab import COARSE, GRANULE
from scheduler.step import Runner

_log = logging.getLogger(__name__)
# Seconds that a step may take while answers are being generated. On the CPU, decoding eight rows of a small
# model takes a quarter of it, and a chunk of less than a hundred tokens costs as much as one of a hundred.
_GPU_STALL, _CPU_STALL = 0.1, 0.6
_FALLBACK_CONTEXT = 4096  # tokens, for the rare model whose configuration doesn't say
_DEFAULT = EngineOptions()


class UntrustedCodeError(ValueError):
    """A model brings Python files along, and nobody has said that they may be run."""

    def __init__(self, model: ModelInfo) -> None:
        files = ", ".join(model.own_code)
        super().__init__(
            f"its folder has Python files of its own ({files}), which nothing runs unless the model's setting trust_remote_code is on. "
            "They can do anything that you can: read them first."
        )


def load(model: ModelInfo, options: EngineOptions) -> Backend | EncoderBackend:
    """Load a model for the engine that its type gets."""
    if model.type.encodes:
        from actors.engine.encoder_loader import load_encoder

        return load_encoder(model, options)
    return load_backend(model, options)


def load_backend(model: ModelInfo, options: EngineOptions = _DEFAULT) -> Backend:
    """Load a model and its tokenizer. Call on the thread that will step it.

    No code of the model's folder is run without `trust_remote_code`; where there is some, loading raises `UntrustedCodeError`
    before anything of the folder is read.
    """
    trusted = allow_own_code(model, options)
    loaded = load_vision(model.path, trusted) if model.type.sees else _load_text(model, trusted)
    device = device_kind()
    weights_of = for_this_device(loaded.weights, generates=True)
    head = look_at_last_position(weights_of)
    pictures = taken_pictures(loaded, head)
    network, tokenizer, config = loaded.network, loaded.tokenizer, loaded.config
    cost = kv_cost(network)
    weights = sum(weight.nbytes for _, weight in tree_flatten(weights_of.parameters()))
    vocabulary = _vocabulary(config) or len(tokenizer.vocab)
    runner = _runner(network, head, vocabulary)
    return Backend(
        runner=runner,
        kv_cost=replace(cost, granule=GRANULE, coarse=COARSE) if isinstance(runner, PackedRunner) else cost,
        reuse_kv=_reusable(network),
        checkpoints=not is_plain(make_prompt_cache(network)),
        kv_budget=_spare_bytes(total_memory(), weights),
        max_decode_stall=_CPU_STALL if device == "cpu" else _GPU_STALL,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        stop_token_ids=frozenset(tokenizer.eos_token_ids),
        context_length=model.context_length or _FALLBACK_CONTEXT,
        device=device_name(),
        pictures=pictures,
        formats=known_formats(tokenizer),
        device_bytes=gpu_memory if device == "cuda" else None,
        warnings=(*warnings(), *_refusals(pictures, seeing=loaded.pictures is not None)),
    )


def _refusals(pictures: ReadsPictures, *, seeing: bool) -> Iterator[str]:
    if seeing and isinstance(pictures, NoPictures):
        yield f"Pictures are refused: {pictures.reason}."


def _load_text(model: ModelInfo, trusted: bool) -> Loaded:
    network, config = load_model(model.path, lazy=True, trust_remote_code=trusted)
    tokenizer = load_tokenizer(model.path, {"trust_remote_code": trusted}, eos_token_ids=config.get("eos_token_id"))
    return Loaded(network, network, tokenizer, config)


def allow_own_code(model: ModelInfo, options: EngineOptions) -> bool:
    """Whether code of a model's folder may be run. Raises `UntrustedCodeError` where there is some and it may not."""
    trusted = options.trust_remote_code
    if model.own_code and not trusted:
        raise UntrustedCodeError(model)
    if model.own_code:
        _log.warning("running code of %s (%s), because trust_remote_code is set", model.path, ", ".join(model.own_code))
    return trusted


def device_name() -> str:
    """What computes here, and what multiplies matrices where that is a choice."""
    device = device_kind()
    return f"cpu with {_blas.name}" if device == "cpu" and _blas else device


def warnings() -> tuple[str, ...]:
    """What the user of any model should know of this machine."""
    return (f"No fast BLAS was found: {CURE}.",) if device_kind() == "cpu" and _blas is None else ()


def for_this_device(network: Any, *, generates: bool) -> Any:
    """A network that was loaded lazily, its weights in memory and as this machine computes best with them."""
    if device_kind() == "cpu":
        _for_cpu(network, generates=generates)
    mx.eval(network.parameters())
    network.eval()
    return network


def _runner(network: Any, head: LastPosition | None, vocabulary: int) -> Runner:
    """One forward for all of a step where the model allows it."""
    if head is not None and is_plain(make_prompt_cache(network)) and can_pack(network, vocabulary):
        return PackedRunner(network, head)
    return MlxRunner(network)


def _reusable(network: Any) -> bool:
    caches = make_prompt_cache(network)
    if can_reuse(caches):
        return True
    kinds = ", ".join(sorted({type(cache).__name__ for cache in leaves(caches) if not can_reuse([cache])}))
    _log.warning("prompts that begin alike are computed each time: this model's caches (%s) can't be shared", kinds)
    return False


def _spare_bytes(total: int, weights: int) -> int:
    """What a model may take for KV: half of the memory with its weights, and a twentieth at the least."""
    return max(total // 2 - weights, total // 20)


def _for_cpu(network: Any, *, generates: bool) -> None:
    """Make weights dense float32: MLX's CPU kernels for quantized and half precision are tens to hundreds of times slower."""
    dequantize_model(network)  # in place
    network.set_dtype(mx.float32)
    cpu.tune(at_once=not generates)
    cpu.tune_products(network)
    cpu.tune_activations(network)
    _log.info("running on the CPU: weights are held as dense float32")


def _vocabulary(config: dict[str, Any]) -> int | None:
    size = config.get("vocab_size", config.get("text_config", {}).get("vocab_size"))
    return size if isinstance(size, int) else None

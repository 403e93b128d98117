"""Why a folder that looks like a model isn't served, and what would help."""

from enum import StrEnum

_READY = "fetch a ready conversion (mlx-community on Hugging Face has many)"


class Reason(StrEnum):
    """Sentences for people; what stands in braces is filled in."""

    UNREADABLE = "It can't be read ({error}). Check its permissions and the disk."
    DOWNLOADING = (
        "A download is in progress or was broken off ({what}). It is served once it is complete; if nothing is fetching it, fetch it "
        "again or delete what is left of the download."
    )
    NO_CONFIG = "It has weights but no config.json. Copy the model's other files beside them."
    NO_WEIGHTS = "It has a config.json but no .safetensors file. Fetch the weights too."
    MISSING_SHARDS = "Some of its weights are missing ({what}). Fetch or copy them again."
    TRUNCATED = (
        "{file} has {size} of {expected} bytes. It is served once the file is complete; if nothing is writing it, fetch it again."
    )
    CORRUPT = "{file} is no proper safetensors file ({error}). Fetch it again."
    LFS_POINTER = "{file} is a Git LFS pointer, not the weights. Run `git lfs pull` in the folder."
    BAD_JSON = "{file} is no proper JSON ({error}). Fetch it again."
    PYTORCH = (
        "Its weights are PyTorch files ({what}), which MLX doesn't load. Either "
        + _READY
        + ", or save it as safetensors: that is served "
        "as it is, and `omlx convert` makes it smaller."
    )
    GGUF = (
        "Its weights are GGUF ({what}), which is llama.cpp's format. Either "
        + _READY
        + ", or fetch the original model with `omlx pull`, and make it smaller with `omlx convert`."
    )
    LORA = (
        "It is a LoRA adapter without its base model. Fuse them: `mlx_lm.fuse --model <base model> --adapter-path <this folder> "
        "--save-path <new folder>`."
    )
    PIPELINE = "It is a pipeline that makes images or sound (model_index.json), which oMLX doesn't serve."
    NO_TYPE = "Its config.json names no model_type, so it can't be told what it is."
    UNSUPPORTED = (
        "Neither mlx-lm nor mlx-vlm, as they are installed, supports its model_type '{model_type}'. A newer release of them may; "
        "else choose another model."
    )
    UNSUPPORTED_TASK = (
        "It is a model for another task ({what}, model_type '{model_type}'), which oMLX doesn't serve: it serves chat, vision, OCR, "
        "embeddings and rerankers with one label."
    )
    UNSUPPORTED_EMBEDDING = (
        "It is an embedding model of model_type '{model_type}', which mlx-vlm, as it is installed, can't embed with."
    )
    DRAFT = "It is a draft model for speculative decoding ({what}), which can't answer on its own."


class UnservableError(Exception):
    """A folder can't be served; its text is a `Reason`, filled in."""

    def __init__(self, reason: Reason, **details: object) -> None:
        self.reason = reason
        super().__init__(reason.format(**details))

"""Models that read pages say in company, and piece by piece, what each says alone, which is what mlx-vlm says."""

import io

import numpy as np
import pytest
from PIL import Image as Drawing

from actors.engine import loader  # puts a BLAS in front of MLX, so it comes first

import mlx.core as mx  # isort: skip

from actors.catalog.discovery import Discovery
from actors.engine.text import chat_text
from tests.e2e.ocr_models import write_deepseek_ocr, write_dots_ocr, write_glm_ocr, write_paddleocr_vl
from tests.e2e.test_vision import CHATS, TOKENS, Seeing, assert_same, read, run

WRITERS = {
    "dots_ocr": write_dots_ocr,
    "glm_ocr": write_glm_ocr,
    "paddleocr_vl": write_paddleocr_vl,
    "deepseek_ocr": write_deepseek_ocr,
}
ONE_PICTURE = ("DeepseekOCRProcessor", "UnlimitedOCRProcessor", "PaddleOCRVLProcessor")  # is all that these take at a time


@pytest.fixture(scope="module", params=WRITERS)
def seeing(request, demo_models, tmp_path_factory):
    """A model, loaded as an engine would."""
    folder = tmp_path_factory.mktemp("ocr")
    WRITERS[request.param](folder / request.param, demo_models / "SmolLM2-135M-Instruct")
    return Seeing(loader.load_backend(Discovery((folder,)).scan().models[request.param]), folder / request.param)


@pytest.fixture(scope="module")
def prompts(seeing):
    return [read(seeing.backend, prompt) for prompt in CHATS]


@pytest.fixture(scope="module")
def alone(seeing, prompts):
    return [run(seeing.backend, [prompt])[0][0] for prompt in prompts]


def processed(processor, text, drawings):
    """What mlx-vlm's processor makes of a whole text and all of its pictures; None where it doesn't know how."""
    if len(drawings) > 1 and type(processor).__name__ in ONE_PICTURE:
        return None
    if not hasattr(processor, "tokenize_with_images"):
        return processor(text=text, images=drawings or None)
    if not drawings:  # DeepSeek-OCR's
        return {"input_ids": [processor.tokenizer.encode(text, add_special_tokens=False)]}
    begin = processor.tokenizer.bos_token
    assert text.startswith(begin)
    made = dict(processor(text=text.removeprefix(begin), images=drawings, inference_mode=False))
    return made | {"pixel_values": made.pop("images")}


def reference(seeing):
    """What mlx-vlm's own model says to each chat, without a cache; None where it can't be asked."""
    from mlx_vlm.utils import load_model, load_processor

    model, processor = load_model(seeing.folder), load_processor(seeing.folder, add_detokenizer=False)
    if hasattr(processor, "image_token_id"):
        processor.image_token_id = processor.tokenizer.convert_tokens_to_ids(processor.image_token)
    for prompt in CHATS:
        drawings = [Drawing.open(io.BytesIO(image.data)).convert("RGB") for image in prompt.images]
        made = processed(processor, chat_text(seeing.backend.tokenizer, prompt), drawings)
        if made is None:
            yield None
            continue
        ids = np.array(made["input_ids"]).reshape(-1).tolist()
        made = {name: mx.array(value) if isinstance(value, np.ndarray) else value for name, value in made.items()}
        others = {name: value for name, value in made.items() if name not in ("input_ids", "attention_mask", "pixel_values")}
        tokens, logprobs = [], []
        for _ in range(TOKENS):
            given = mx.array([[*ids, *tokens]])
            features = model.get_input_embeddings(given, made.get("pixel_values"), **others)
            more = {} if features.position_ids is None else {"position_ids": features.position_ids}
            logits = model.language_model(given, inputs_embeds=features.inputs_embeds, **more).logits[0, -1].astype(mx.float32)
            scores = logits - mx.logsumexp(logits)
            tokens.append(int(mx.argmax(scores).item()))
            logprobs.append(float(scores[tokens[-1]].item()))
        yield tokens, logprobs


def test_each_says_what_the_model_says(seeing, alone):
    theirs = list(reference(seeing))
    known = [number for number, each in enumerate(theirs) if each is not None]
    assert len(known) > 1
    assert_same([alone[number] for number in known], [theirs[number] for number in known])
    assert len({tuple(tokens) for tokens, _ in alone}) > 1


def test_in_company_and_in_small_chunks_that_cut_pictures(seeing, prompts, alone):
    together, _, runner = run(seeing.backend, prompts, max_step_tokens=7)
    assert runner.chunks > 3 * len(prompts)
    assert_same(together, alone)
    together, _, runner = run(seeing.backend, prompts)
    assert runner.widest == len(prompts)
    assert_same(together, alone)

"""Unlimited-OCR's answers forget their own beginning, and never the prompt, as in mlx-vlm."""

import io

from PIL import Image as Drawing

from actors.engine import loader  # puts a BLAS in front of MLX, so it comes first

import mlx.core as mx  # isort: skip

from actors.catalog.discovery import Discovery
from actors.engine.text import chat_text
from tests.e2e.ocr_models import write_unlimited_ocr
from tests.e2e.test_ocr import processed
from tests.e2e.test_vision import TOKENS, assert_same, chat, read, run

CHATS = (chat([1, "document parsing."]), chat("What is the capital of France?"))


def reference(folder, tokenizer):
    """What mlx-vlm's own model says, with its own cache, token by token."""
    from mlx_vlm.utils import load_model, load_processor

    model, processor = load_model(folder), load_processor(folder, add_detokenizer=False)
    for prompt in CHATS:
        drawings = [Drawing.open(io.BytesIO(image.data)).convert("RGB") for image in prompt.images]
        made = processed(processor, chat_text(tokenizer, prompt), drawings)
        others = {
            name: value for name, value in made.items() if name in ("pixel_values", "images_spatial_crop", "images_seq_mask")
        }
        fed = mx.array(made["input_ids"])
        embedded = model.get_input_embeddings(fed, **others).inputs_embeds
        cache = model.make_cache()
        tokens, logprobs = [], []
        for _ in range(TOKENS):
            logits = model.language_model(fed, inputs_embeds=embedded, cache=cache).logits[0, -1].astype(mx.float32)
            scores = logits - mx.logsumexp(logits)
            tokens.append(int(mx.argmax(scores).item()))
            logprobs.append(float(scores[tokens[-1]].item()))
            fed, embedded = mx.array([[tokens[-1]]]), None
        assert cache[0].prefill_length + cache[0].window_size < cache[0].offset
        yield tokens, logprobs


def test_its_answers_are_mlx_vlms_alone_and_in_company(demo_models, tmp_path):
    write_unlimited_ocr(tmp_path / "m", demo_models / "SmolLM2-135M-Instruct")
    backend = loader.load_backend(Discovery((tmp_path,)).scan().models["m"])
    theirs = list(reference(tmp_path / "m", backend.tokenizer))
    prompts = [read(backend, prompt) for prompt in CHATS]
    assert_same([run(backend, [prompt])[0][0] for prompt in prompts], theirs)
    assert_same(run(backend, prompts)[0], theirs)

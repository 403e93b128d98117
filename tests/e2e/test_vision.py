"""Pictures and words in one batch: each row says what it says alone, and what mlx-vlm itself would say; pictures are looked at once."""

import io

import numpy as np
import pytest
from PIL import Image as Drawing

from actors.engine import loader  # puts a BLAS in front of MLX, so it comes first

import mlx.core as mx  # isort: skip

from actors.catalog.discovery import Discovery
from actors.contracts import ChatPrompt, Image, Job
from actors.engine.prompt import Prompt, read_prompt
from scheduler.core import EngineCore
from scheduler.request import Request
from scheduler.sampling import SamplingParams
from scheduler.scheduler import SchedulerConfig
from tests.e2e.vision_models import write_qwen2_vl, write_smolvlm

TOKENS = 10
GREEDY = SamplingParams(temperature=0.0, logprobs=1)
ROUNDING = 0.002
WRITERS = {"smolvlm": write_smolvlm, "qwen2_vl": write_qwen2_vl}


def picture(seed, width=84, height=56):
    """A PNG of noise, unlike any other."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    data = io.BytesIO()
    Drawing.fromarray(pixels).save(data, "PNG")
    return Image(data.getvalue(), f"picture {seed}")


def chat(*turns):
    """A conversation of turns by user and assistant; numbers are pictures."""
    messages, images = [], []
    for number, turn in enumerate(turns):
        content = turn if isinstance(turn, str) else []
        for part in () if isinstance(turn, str) else turn:
            if isinstance(part, str):
                content.append({"type": "text", "text": part})
            else:
                content.append({"type": "image"})
                images.append(picture(part))
        messages.append({"role": ("user", "assistant")[number % 2], "content": content})
    return ChatPrompt(tuple(messages), images=tuple(images))


CHATS = (
    chat([1, "What is this?"]),
    chat("What is the capital of France?"),
    chat(["Compare ", 2, " with ", 3, " in one sentence."]),
    chat([1, "What is this?"], "A picture.", [4, "And that, in other words?"]),
    chat([3, 2, 1]),
)


class Watched:
    """A runner, and the plans that it was given."""

    def __init__(self, runner):
        self._runner = runner
        self.looks_ahead = runner.looks_ahead
        self.launch_blocks = runner.launch_blocks
        self.widest = 0
        self.chunks = 0

    def run(self, plan):
        self.widest = max(self.widest, len(plan.decode))
        self.chunks += len(plan.prefill)
        return self._runner.run(plan)


@pytest.fixture(scope="module", params=WRITERS)
def seeing(request, demo_models, tmp_path_factory):
    """A model, loaded as an engine would."""
    folder = tmp_path_factory.mktemp("vision")
    WRITERS[request.param](folder / request.param, demo_models / "SmolLM2-135M-Instruct")
    return loader.load_backend(Discovery((folder,)).scan().models[request.param])


def read(backend, prompt):
    return read_prompt(backend.tokenizer, backend.vocabulary, backend.pictures, Job("r", prompt))


def run(backend, prompts, core=None, **bounds):
    """Tokens, logprobs and cached tokens of each prompt, all at once in one core, and what the runner saw."""
    runner = Watched(backend.runner)
    bounds = {"max_num_seqs": 8, "max_decode_stall": 60.0, "kv_cost": backend.kv_cost} | bounds
    core = core or EngineCore(runner, SchedulerConfig(**bounds))
    for number, prompt in enumerate(prompts):
        core.add(Request(str(number), prompt.token_ids, TOKENS, sampling=GREEDY, inputs=prompt.inputs))
    events = [[] for _ in prompts]
    while core.has_work:
        for event in core.step().events:
            events[int(event.request_id)].append(event)
    core.check_integrity()
    answers = [([event.token for event in mine], [event.logprobs.logprob for event in mine]) for mine in events]
    return answers, [mine[0].cached_tokens for mine in events], runner


def assert_same(answers, others):
    assert [tokens for tokens, _ in answers] == [tokens for tokens, _ in others]
    for (_, logprobs), (_, theirs) in zip(answers, others, strict=True):
        assert logprobs == pytest.approx(theirs, abs=ROUNDING)


def reference(backend, prompt):
    """What mlx-vlm's model says without a cache, its processor given the whole text and all pictures."""
    from actors.engine.text import chat_text

    reader = backend.pictures
    model = reader._features.model.model
    drawings = [Drawing.open(io.BytesIO(image.data)).convert("RGB") for image in prompt.images]
    text = chat_text(backend.tokenizer, prompt)
    made = reader._processor(text=text, images=drawings or None)
    ids = np.array(made["input_ids"]).reshape(-1).tolist()
    others = {name: value for name, value in made.items() if name not in ("input_ids", "attention_mask", "pixel_values")}
    tokens, logprobs = [], []
    for _ in range(TOKENS):
        for module in (model.language_model,):  # what it remembers of the positions of an earlier call
            for name in ("_position_ids", "_rope_deltas"):
                if hasattr(module, name):
                    setattr(module, name, None)
        given = mx.array([[*ids, *tokens]])
        features = model.get_input_embeddings(given, made.get("pixel_values"), **others)
        more = {} if features.position_ids is None else {"position_ids": features.position_ids}
        logits = model.language_model(given, inputs_embeds=features.inputs_embeds, **more).logits[0, -1].astype(mx.float32)
        scores = logits - mx.logsumexp(logits)
        tokens.append(int(mx.argmax(scores).item()))
        logprobs.append(float(scores[tokens[-1]].item()))
    return tokens, logprobs


@pytest.fixture(scope="module")
def prompts(seeing):
    return [read(seeing, prompt) for prompt in CHATS]


@pytest.fixture(scope="module")
def alone(seeing, prompts):
    return [run(seeing, [prompt])[0][0] for prompt in prompts]


def test_each_says_what_the_model_says(seeing, alone):
    assert_same(alone, [reference(seeing, prompt) for prompt in CHATS])
    assert len({tuple(tokens) for tokens, _ in alone}) > 1


def test_in_company(seeing, prompts, alone):
    together, _, runner = run(seeing, prompts)
    assert runner.widest == len(prompts)
    assert_same(together, alone)


def test_in_small_chunks_that_cut_pictures(seeing, prompts, alone):
    together, _, runner = run(seeing, prompts, max_step_tokens=7)
    assert runner.chunks > 3 * len(prompts)
    assert_same(together, alone)


def test_the_next_turn_finds_the_picture_and_its_kv(seeing, prompts, alone):
    backend = seeing
    runner = Watched(backend.runner)
    core = EngineCore(runner, SchedulerConfig(max_num_seqs=8, kv_cost=backend.kv_cost, kv_budget=1 << 28, reuse_kv=True))
    features = backend.pictures._features
    run(backend, [prompts[0]], core)
    before = features.encoded
    answers, cached, _ = run(backend, [read(backend, CHATS[3]), prompts[1]], core)
    assert cached[0] >= len(prompts[0].token_ids) // 2
    assert features.encoded <= before + 1  # the new picture alone, if it wasn't known already
    assert_same(answers, [alone[3], alone[1]])


def test_another_picture_in_its_place_finds_nothing_of_it(seeing, prompts):
    backend = seeing
    core = EngineCore(
        Watched(backend.runner), SchedulerConfig(max_num_seqs=8, kv_cost=backend.kv_cost, kv_budget=1 << 28, reuse_kv=True)
    )
    other = read(backend, chat([5, "What is this?"]))
    assert len(other.token_ids) == len(prompts[0].token_ids)
    _, (first,), _ = run(backend, [prompts[0]], core)
    _, (again,), _ = run(backend, [prompts[0]], core)
    _, (another,), _ = run(backend, [other], core)
    assert first == 0
    assert another < 8 < again


def test_text_needs_no_inputs_and_a_text_in_place_of_a_picture_is_refused(seeing):
    assert isinstance(read(seeing, CHATS[1]), Prompt)
    assert read(seeing, CHATS[1]).inputs is None

"""Pictures and words in one batch: each row says what it says alone, and what mlx-vlm itself would say; pictures are looked at once."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Drawing

from actors.engine import loader  # puts a BLAS in front of MLX, so it comes first

import mlx.core as mx  # isort: skip

from actors.catalog.discovery import Discovery
from actors.contracts import ChatPrompt, Image, Job
from actors.engine.backend import Backend
from actors.engine.prompt import NoPictures, read_prompt
from actors.engine.text import chat_text
from scheduler.core import EngineCore
from scheduler.request import Request
from scheduler.sampling import SamplingParams
from scheduler.scheduler import SchedulerConfig
from tests.e2e.vision_families import FIRST, REFUSED, WRITERS

TOKENS = 10
GREEDY = SamplingParams(temperature=0.0, logprobs=1)
ROUNDING = 0.002
pytestmark = [  # of processors: Gemma 4's, which reads sound too, and Kimi-VL's
    pytest.mark.filterwarnings("ignore:At least one mel filter:UserWarning"),
    pytest.mark.filterwarnings("ignore:Image.Image.getdata:DeprecationWarning"),
]
TEXT = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")
thorough = pytest.mark.parametrize("seeing", list(FIRST), indirect=True)


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


LONG = (
    "What is this? Answer in a few words, and say which colours you see in it, and whether it was made by a person or a machine. "
    * 2
)
CHATS = (
    chat([1, LONG]),
    chat("What is the capital of France?"),
    chat(["Compare ", 2, " with ", 3, " in one sentence."]),
    chat([1, LONG], "A picture.", [4, "And that, in other words?"]),
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
    backend = loader.load_backend(Discovery((folder,)).scan().models[request.param])
    return Seeing(backend, folder / request.param)


@dataclass(frozen=True)
class Seeing:
    """A loaded model and its folder."""

    backend: Backend
    folder: Path


def read(backend, prompt):
    return read_prompt(backend, Job("r", prompt))


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


def reference(seeing, answers):
    """What mlx-vlm's own model says to each chat, without a cache, its processor given the whole text and all pictures.

    Each token is drawn after those of an answer before it.
    """
    from mlx_vlm.utils import load_model, load_processor

    model, processor = load_model(seeing.folder), load_processor(seeing.folder, add_detokenizer=False)
    for prompt, (tokens, _) in zip(CHATS, answers, strict=True):
        drawings = [Drawing.open(io.BytesIO(image.data)).convert("RGB") for image in prompt.images]
        text = chat_text(seeing.backend.tokenizer, prompt)
        made = processor(text=text, images=drawings) if drawings else processor.tokenizer(text)
        made = {name: mx.array(value) if isinstance(value, np.ndarray) else value for name, value in made.items()}
        given = mx.array([[*np.array(made["input_ids"]).reshape(-1).tolist(), *tokens[:-1]]])
        others = {name: value for name, value in made.items() if name not in TEXT and name != "pixel_values"}
        features = model.get_input_embeddings(given, made.get("pixel_values"), mask=mx.ones_like(given), **others)
        more = {name: value for name, value in vars(features).items() if value is not None}
        logits = model.language_model(given, **{**others, **more}).logits[0, -len(tokens) :].astype(mx.float32)
        scores = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
        yield mx.argmax(scores, axis=-1).tolist(), mx.max(scores, axis=-1).tolist()


@pytest.fixture(scope="module")
def prompts(seeing):
    return [read(seeing.backend, prompt) for prompt in CHATS]


@pytest.fixture(scope="module")
def alone(seeing, prompts):
    """What each says by itself; of most families in small chunks, so that what mlx-vlm says is compared with these."""
    bounds = {} if seeing.folder.name in FIRST else {"max_step_tokens": 7}
    return [run(seeing.backend, [prompt], **bounds)[0][0] for prompt in prompts]


def test_each_says_what_the_model_says(seeing, alone):
    assert_same(alone, list(reference(seeing, alone)))
    assert len({tuple(np.round(logprobs, 2)) for _, logprobs in alone}) == len(CHATS)


@thorough
def test_in_company(seeing, prompts, alone):
    together, _, runner = run(seeing.backend, prompts)
    assert runner.widest == len(prompts)
    assert_same(together, alone)


@thorough
def test_in_small_chunks_that_cut_pictures(seeing, prompts, alone):
    together, _, runner = run(seeing.backend, prompts, max_step_tokens=7)
    assert runner.chunks > 3 * len(prompts)
    assert_same(together, alone)


@thorough
def test_the_next_turn_finds_the_picture_and_its_kv(seeing, prompts, alone):
    backend = seeing.backend
    runner = Watched(backend.runner)
    core = EngineCore(
        runner,
        SchedulerConfig(
            max_num_seqs=8, kv_cost=backend.kv_cost, kv_budget=1 << 28, reuse_kv=True, checkpoints=backend.checkpoints
        ),
    )
    features = backend.pictures._features
    for _ in range(2):  # states are kept from the second time on that a beginning is met
        run(backend, [prompts[0]], core)
    before = features.encoded
    answers, cached, _ = run(backend, [read(backend, CHATS[3]), prompts[1]], core)
    assert cached[0] >= len(prompts[0].token_ids) // 2
    assert features.encoded <= before + 1  # the new picture alone, if it wasn't known already
    assert_same(answers, [alone[3], alone[1]])


@thorough
def test_another_picture_in_its_place_finds_nothing_of_it(seeing, prompts):
    backend = seeing.backend
    core = EngineCore(
        Watched(backend.runner),
        SchedulerConfig(
            max_num_seqs=8, kv_cost=backend.kv_cost, kv_budget=1 << 28, reuse_kv=True, checkpoints=backend.checkpoints
        ),
    )
    other = read(backend, chat([5, LONG]))
    assert len(other.token_ids) == len(prompts[0].token_ids)
    cached = [run(backend, [prompt], core)[1][0] for prompt in (prompts[0], prompts[0], prompts[0], other, other)]
    assert cached[0] == 0
    assert cached[3] < 8  # the words before the picture
    assert cached[2] > 30


@thorough
def test_text_needs_no_inputs_and_a_text_in_place_of_a_picture_is_refused(seeing):
    assert read(seeing.backend, CHATS[1]).inputs is None


@pytest.mark.parametrize("family", REFUSED)
def test_a_model_that_would_say_something_else_answers_text_alone(family, tmp_path, demo_models):
    write, reason = REFUSED[family]
    write(tmp_path / family, demo_models / "SmolLM2-135M-Instruct")
    backend = loader.load_backend(Discovery((tmp_path,)).scan().models[family])
    assert isinstance(backend.pictures, NoPictures)
    assert reason in backend.pictures.reason
    assert read(backend, CHATS[1]).token_ids

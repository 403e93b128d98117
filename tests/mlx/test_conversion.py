"""`omlx convert` with the libraries' real converter: a model that wasn't one for MLX answers afterwards."""

import json
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import pytest

from actors.catalog.discovery import Discovery
from actors.catalog.safetensors_header import read_header
from actors.engine.loader import load_backend
from actors.engine.prompt import NoPictures
from actors.models import ModelType
from omlx.conversion.conversion import model_in
from omlx.conversion.size import expected_bytes
from omlx.conversion.target import Target, quantization_of
from scheduler.core import EngineCore
from scheduler.request import Request
from scheduler.sampling import SamplingParams
from scheduler.scheduler import SchedulerConfig
from tests.e2e.vision_models import write_qwen2_vl
from tests.mlx.tiny_folder import write_tiny

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source(tmp_path):
    folder = write_tiny(tmp_path / "source")
    # As PyTorch's libraries write it.
    weights = folder / "model.safetensors"
    mx.save_safetensors(str(weights), dict(mx.load(str(weights)).items()), {"format": "pt"})
    return folder


def omlx(tmp_path, *arguments):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-P", "-m", "omlx.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )


def answer(model, count):
    """So many tokens of an answer."""
    core = EngineCore(load_backend(model).runner, SchedulerConfig())
    core.add(Request("r", (5, 6, 7), count, sampling=SamplingParams(temperature=0.0)))
    tokens = []
    while core.has_work:
        tokens += [event.token for event in core.step().events]
    return tokens


@pytest.mark.parametrize(
    ("options", "name", "quantization"),
    [
        ((), "source-mlx", None),
        (("--bits", "8", "--group-size", "32"), "source-8bit", {"bits": 8, "group_size": 32, "mode": "affine"}),
    ],
)
def test_a_model_is_converted_found_and_answers(source, tmp_path, options, name, quantization):
    done = omlx(tmp_path, "convert", str(source), *options)
    models = tmp_path / ".omlx" / "models"
    assert (done.returncode, done.stdout) == (0, f"{name} is in {models / name}\n"), done.stderr
    assert f"Writing {name} …" in done.stderr
    found = Discovery([models]).scan().models
    assert list(found) == [name]
    assert json.loads((models / name / "config.json").read_text()).get("quantization") == quantization
    (original,) = Discovery([source.parent]).scan().models.values()
    assert len(answer(found[name], 4)) == 4
    if quantization is None:
        assert answer(found[name], 4) == answer(original, 4)
    again = omlx(tmp_path, "convert", name)
    assert again.returncode == (1 if quantization else 0), again.stderr


def test_a_model_that_sees_is_converted_and_still_does(source, tmp_path):
    write_qwen2_vl(tmp_path / "Eye", source)
    done = omlx(tmp_path, "convert", str(tmp_path / "Eye"), "--bits", "4", "--group-size", "32")
    assert done.returncode == 0, done.stderr
    model = model_in(tmp_path / ".omlx" / "models" / "Eye-4bit")
    assert model.type is ModelType.VLM
    assert model.quantization == "4-bit"
    assert not isinstance(load_backend(model).pictures, NoPictures)


@pytest.mark.parametrize("options", [("--bits", "3"), ("--mode", "nvfp4", "--dtype", "float16"), ("--dtype", "bfloat16")])
def test_it_becomes_about_as_large_as_was_expected(source, tmp_path, options):
    done = omlx(tmp_path, "convert", str(source), "--name", "made", *options)
    assert done.returncode == 0, done.stderr
    given = dict(zip(options[::2], options[1::2], strict=True))
    bits = given.get("--bits")
    target = Target(quantization_of(given.get("--mode"), bits and int(bits), None), given.get("--dtype"))
    tensors = read_header(tmp_path / ".omlx" / "models" / "made" / "model.safetensors")
    width = {"U32": 4, "U8": 1, "F32": 4, "F16": 2, "BF16": 2}
    made = sum(tensor.size * width[tensor.dtype] for tensor in tensors.values())
    assert expected_bytes(read_header(source / "model.safetensors"), target, sees=False) == made

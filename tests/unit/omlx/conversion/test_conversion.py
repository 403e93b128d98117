"""A converted model is shown whole or not at all, whatever becomes of the converter; its stand-in here is a small program."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actors.catalog.discovery import Discovery
from actors.models import ModelInfo, ModelType
from omlx.conversion import converter
from omlx.conversion.conversion import PREFIX, Means, convert, model_in
from omlx.conversion.errors import ConversionError
from omlx.conversion.target import Quantization, Target
from omlx.downloads.errors import OccupiedError, StorageError, UnsuitableError
from omlx.downloads.hold import hold
from tests.fakes.disk import write_llama

ROOT = Path(__file__).parents[4]
FOUR_BIT = Target(Quantization("affine", 4, 64))
# Gets LIBRARY SOURCE FOLDER OPTIONS, as `actors.engine.converter` does.
PREAMBLE = "import json, os, shutil, sys\nlibrary, source, folder, options = sys.argv[1:]\n"
GOOD = PREAMBLE + (
    "print('[INFO] Loading')\nprint('[INFO] Quantizing')\nshutil.copytree(source, folder)\n"
    "open(folder + '/asked', 'w').write(library + ' ' + options)\n"
    f"print({converter.DONE!r})\n"
)


class Told:
    """Keeps the stages."""

    def __init__(self):
        self.stages = []
        self.totals = {}
        self.done = []

    def stage(self, name, total):
        self.stages.append(name)
        self.totals[name] = total

    def advance(self, done):
        self.done.append(done)


@pytest.fixture
def source(tmp_path):
    return model_in(write_llama(tmp_path / "source"))


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


def means(program, **more):
    return Means(command=(sys.executable, "-c", program), **more)


def run(source, models, program=GOOD, name="made", target=FOUR_BIT, **more):
    told = Told()
    return convert(source, models, name, target, told, means(program, **more)), told


def left(models):
    return sorted(each.name for each in models.iterdir()) if models.exists() else []


def test_it_is_shown_once_it_is_whole(source, models):
    folder, told = run(source, models)
    assert folder == models / "made"
    assert left(models) == ["made"]
    assert list(Discovery([models]).scan().models) == ["made"]
    library, _, options = (folder / "asked").read_text().partition(" ")
    assert (library, json.loads(options)) == (
        "mlx_lm",
        {"dtype": None, "quantize": True, "q_mode": "affine", "q_bits": 4, "q_group_size": 64},
    )
    assert {"Loading source", "Quantizing made"} <= set(told.stages)


def test_without_a_word_of_quantizing_it_isn_t_quantized(source, models):
    folder, _ = run(source, models, target=Target(dtype="bfloat16"))
    assert json.loads((folder / "asked").read_text().partition(" ")[2]) == {"dtype": "bfloat16"}


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("print('out of luck'); raise SystemExit(3)", "code 3.*\n  out of luck"),
        (PREAMBLE + "shutil.copytree(source, folder); os.kill(os.getpid(), 9)", "signal 9, as when memory runs out"),
        (PREAMBLE + f"os.mkdir(folder); print({converter.DONE!r})", "can't be served"),
        (
            GOOD.replace(
                "shutil.copytree(source, folder)", "shutil.copytree(source, folder); os.remove(folder + '/config.json')"
            ),
            "served",
        ),
    ],
)
def test_what_fails_says_why_and_leaves_nothing(source, models, program, said):
    with pytest.raises(ConversionError, match=said):
        run(source, models, program)
    assert left(models) == []


def test_a_converter_that_aborts_on_its_way_out_has_done_its_work(source, models):
    run(source, models, GOOD + "sys.stdout.flush(); os.abort()\n")
    assert left(models) == ["made"]


def test_what_is_written_is_told_against_what_is_expected(source, models):
    half_done = "os.makedirs(folder)\nopen(folder + '/model.safetensors', 'w').write('x')\nprint('wrote')\nsys.stdin.read(1)"
    told = Told()
    told.advance = lambda done: told.done.append(done) or (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        convert(source, models, "made", Target(), told, means(PREAMBLE + half_done))
    assert (told.stages, told.totals, told.done) == (
        ["Writing made"],
        {"Writing made": 4},
        [1],
    )  # a float32 number, of which a byte
    assert left(models) == []


def test_two_processes_do_not_make_one_model(source, models):
    with hold(models / f"{PREFIX}made", "making"):
        with pytest.raises(OccupiedError, match="Another process is making it already"):
            run(source, models)
        run(source, models, name="other")  # and leaves the first at work
        assert left(models) == [f"{PREFIX}made", "other"]


def test_folders_and_links_that_are_no_conversion_s_stay(source, models, tmp_path):
    write_llama(models / f"{PREFIX}mine")
    elsewhere = write_llama(tmp_path / "elsewhere")
    (elsewhere / "lock").touch()
    (models / f"{PREFIX}link").symlink_to(elsewhere)
    run(source, models)
    assert left(models) == [f"{PREFIX}link", f"{PREFIX}mine", "made"]
    assert (elsewhere / "config.json").exists()


def test_what_a_killed_process_left_is_no_model_and_is_cleaned_up(source, models):
    stuck = PREAMBLE + "shutil.copytree(source, folder); print('there', flush=True)\nsys.stdin.read()"
    script = (
        "import sys; from pathlib import Path\n"
        "from omlx.conversion.conversion import Means, convert, model_in\nfrom omlx.conversion.target import Target\n"
        "from omlx.conversion import converter\n"
        "class Told:\n    def stage(self, name, total): print('writing', flush=True) if name.startswith('Writing') else None\n"
        "    def advance(self, done): pass\n"
        f"convert(model_in(Path({str(source.path)!r})), Path({str(models)!r}), 'made', Target(), Told(), "
        f"Means(command=(sys.executable, '-c', {stuck!r})))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    with process:
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
    assert left(models) == [f"{PREFIX}made"]
    assert Discovery([models]).scan().models == {}
    run(source, models, name="other")
    assert left(models) == ["other"]


def test_its_place_must_be_free(source, models):
    run(source, models)
    with pytest.raises(OccupiedError, match="omlx rm made"):
        run(source, models)
    with pytest.raises(UnsuitableError):
        run(source, models, name="../made")


def test_there_must_be_space_for_it(source, models):
    with pytest.raises(StorageError, match="isn't enough space"):
        run(source, models, free_bytes=lambda _: 1000)
    assert left(models) == []


def test_what_is_quantized_already_is_refused(source, models):
    config = json.loads((source.path / "config.json").read_text())
    (source.path / "config.json").write_text(json.dumps({**config, "quantization": {"bits": 4, "group_size": 64}}))
    with pytest.raises(ConversionError, match="quantized for MLX already"):
        run(source, models)


@pytest.mark.parametrize("kind", [ModelType.EMBEDDING, ModelType.RERANKER])
def test_encoders_are_served_as_they_are(source, models, kind):
    with pytest.raises(ConversionError, match="serves it as it is"):
        run(ModelInfo("encoder", source.path, type=kind), models)


def test_a_model_that_sees_has_mlx_vlms_converter(source, models):
    folder, _ = run(ModelInfo("sees", source.path, type=ModelType.VLM), models)
    assert (folder / "asked").read_text().startswith("mlx_vlm ")


def test_a_folder_without_a_model(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConversionError, match="no model in"):
        model_in(tmp_path / "empty")

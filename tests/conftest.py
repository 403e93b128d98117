"""What several kinds of test share: a folder of models without tensors, and one Ray runtime for all of a run."""

import os
import signal
from pathlib import Path

import hypothesis
import pytest

from actors.control import CatalogConfig
from scheduler.mlx.blas import preload_blas
from tests.fakes.model import ECHO_BACKEND, MODELS, write_model

preload_blas()  # before any test's module imports MLX, which finds it only then

# Half of the tests may run in a shell's background, where Ctrl-C is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says how busy the machine is, and nothing of the code.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

ENGINE_SETTINGS = {"max_concurrent_requests": 3, "max_queued_requests": 4}


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for model_id in MODELS:
        write_model(folder, model_id)
    return folder


@pytest.fixture(scope="session")
def ray_runtime(model_dir, tmp_path_factory):
    from actors.logs import LogConfig
    from actors.runtime import RayRuntime, RuntimeConfig

    root = str(Path(__file__).parents[1])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = root  # the engines import tests.fakes
    here = Path.cwd()
    work = tmp_path_factory.mktemp("run")
    runtime = RayRuntime(
        RuntimeConfig(work_dir=work, logs=LogConfig(work / "logs")),
        CatalogConfig((model_dir,), overrides=ENGINE_SETTINGS, backend=ECHO_BACKEND),
    )
    try:
        runtime.start()
        yield runtime
    finally:
        runtime.stop()
        os.chdir(here)
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before

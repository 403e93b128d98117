"""The tables of types are the installed libraries' own, so that a new release of theirs needs no change here."""

import subprocess
import sys

import pytest

from actors.catalog.libraries import Libraries


@pytest.fixture
def libraries(tmp_path):
    """Releases that do not exist yet."""
    lm, vlm = tmp_path / "mlx_lm", tmp_path / "mlx_vlm"
    (lm / "models").mkdir(parents=True)
    (lm / "models/brandnew.py").write_text("class ModelArgs: ...\nclass Model: ...\n")
    (lm / "models/parts.py").write_text("class Shared: ...\n")
    (lm / "utils.py").write_text('import mlx\nMODEL_REMAPPING = {\n    "oldname": "brandnew",  # as it was\n}\nX = {1: 2}\n')
    for name, source in (("seer", "class VisionConfig: ..."), ("embedder", "EmbeddingOutput"), ("writer", "class Model: ...")):
        (vlm / "models" / name).mkdir(parents=True)
        (vlm / "models" / name / "__init__.py").write_text(source)
    (vlm / "speculative/drafters/seer_mtp").mkdir(parents=True)
    (vlm / "speculative/drafters/seer_mtp/__init__.py").write_text("")
    (vlm / "utils.py").write_text('MODEL_REMAPPING = {"see-r": "seer"}\n')
    (vlm / "embedding_loader.py").write_text('EMBEDDING_MODEL_REMAPPING = {\n    "writer": "embedder",\n}\n')
    (vlm / "reranker.py").write_text('_RERANKER_KINDS = {\n    "wri_ter": RerankerKind.SEQUENCE_CLASSIFIER,\n}\n')
    (vlm / "prompt_utils.py").write_text('MODEL_CONFIG = {\n    "seer": MessageFormat.PROMPT_ONLY,\n}\n')
    return Libraries(lm, vlm)


def test_a_new_release_brings_its_own_types(libraries):
    assert libraries.runs_text("brandnew")
    assert libraries.runs_text("oldname")
    assert not libraries.runs_text("parts")
    assert libraries.package("See-R") == "seer"
    assert libraries.sees("seer")
    assert not libraries.sees("writer")
    assert libraries.takes_prompts("see-r")
    assert libraries.embedding_package("writer") == "embedder"
    assert libraries.embedding_package("seer") is None
    assert libraries.reranker_kind("wri-ter") == "SEQUENCE_CLASSIFIER"
    assert libraries.drafts("seer_mtp")
    assert not libraries.drafts("seer")


def test_a_library_that_is_missing_knows_nothing():
    nothing = Libraries(None, None)
    assert not nothing.runs_text("llama")
    assert nothing.package("qwen2_vl") is None
    assert nothing.embedding_package("bert") is None
    assert nothing.reranker_kind("bert") is None


def test_the_installed_ones_are_asked_without_importing_them():
    script = (
        "import sys; from actors.catalog.libraries import Libraries; it = Libraries.installed(); "
        "assert it.runs_text('llama') and it.package('qwen2_vl') and it.embedding_package('bert') and it.reranker_kind('bert'); "
        "sys.exit(any(name.split('.')[0] in ('mlx', 'mlx_lm', 'mlx_vlm') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("model_type", ["mistral", "kimi_k2", "qwen2_5_vl", "falcon_mamba", "minimax_m2"])
def test_the_installed_names_are_followed(model_type):
    assert Libraries.installed().runs_text(model_type)

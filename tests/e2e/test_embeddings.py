"""Vectors and scores are those of sentence-transformers and transformers, whatever shares a forward with them."""

import asyncio

import numpy as np
import pytest

from actors.catalog.libraries import Libraries
from actors.catalog.model_folder import read_folder
from actors.contracts import EmbedJob, EngineSpec, RerankJob, TextPrompt
from actors.engine.encoder_engine import EncoderEngine
from actors.models import ModelType
from tests.e2e.retrieval import JUDGED, PASSAGES, QUESTIONS, sentences


def with_engine(folder, type_, use):
    """What a coroutine function gives for an engine of a folder's model."""
    from actors.engine.loader import load

    model = read_folder(folder, folder.name, Libraries.installed()).found
    assert model.type is type_

    async def run():
        engine = EncoderEngine(EngineSpec("e", model), load, on_broken=print)
        try:
            return await use(engine)
        finally:
            await engine.stop()

    return asyncio.run(asyncio.wait_for(run(), 300))


def vectors(folder, texts):
    """Each text's vector by a request of its own, all at once."""

    async def use(engine):
        jobs = [EmbedJob(str(n), (TextPrompt(text),), truncate=True) for n, text in enumerate(texts)]
        return [np.frombuffer(answer.data, "<f4") for answer in await asyncio.gather(*map(engine.embed, jobs))]

    return np.array(with_engine(folder, ModelType.EMBEDDING, use))


def judged(folder):
    """The scores of all pairs, a request a query, all at once."""
    asked = {}
    for query, document in JUDGED:
        asked.setdefault(query, []).append(document)

    async def use(engine):
        jobs = [RerankJob(query, query, tuple(documents)) for query, documents in asked.items()]
        answers = await asyncio.gather(*map(engine.rerank, jobs))
        scores = {job.query: iter(answer.scores) for job, answer in zip(jobs, answers, strict=True)}
        return np.array([next(scores[query]) for query, _ in JUDGED])

    return with_engine(folder, ModelType.RERANKER, use)


def test_vectors_are_those_of_sentence_transformers(minilm, refer):
    texts = sentences()
    assert len(texts) == len(set(texts)) == 200
    ours, theirs = vectors(minilm, texts), np.array(refer("embed", minilm, texts))
    assert ours.shape == theirs.shape == (200, 384)
    assert np.linalg.norm(ours, axis=1) == pytest.approx(1, abs=1e-5)
    cosines = (ours * theirs).sum(axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosines.min() >= 0.9999
    ours_ranked, theirs_ranked = (ranking(texts, each) for each in (ours, theirs))
    assert (ours_ranked == theirs_ranked).all()
    assert (ours_ranked[:, 0] == np.arange(len(QUESTIONS))).mean() > 0.9  # and it is a model that finds things


def ranking(texts, vectors):
    """For each question, the passages from the best on."""
    questions, passages = ([vectors[texts.index(text)] for text in part] for part in (QUESTIONS, PASSAGES))
    return np.argsort(-(np.array(questions) @ np.array(passages).T), axis=1)


def test_a_vector_is_the_same_alone_and_in_company(minilm):
    texts = sentences()[::5]

    async def one_by_one(engine):
        return [
            np.frombuffer((await engine.embed(EmbedJob("a", (TextPrompt(text),), truncate=True))).data, "<f4") for text in texts
        ]

    assert np.abs(vectors(minilm, texts) - with_engine(minilm, ModelType.EMBEDDING, one_by_one)).max() < 1e-5


@pytest.mark.parametrize(
    ("family", "name"),
    [("XLM-R", "tiny-xlmr-reranker"), ("ModernBERT", "tiny-modernbert-reranker"), ("Qwen3", "tiny-qwen3-reranker")],
)
def test_scores_are_those_of_transformers(tiny, family, name):
    folder, reference = tiny
    ours, theirs = judged(folder / name), np.array(reference[family])
    assert theirs.max() - theirs.min() > 0.1
    assert np.abs(ours - theirs).max() < 1e-3
    for start in range(0, 4 * len(PASSAGES), len(PASSAGES)):
        query = slice(start, start + len(PASSAGES))
        assert (np.argsort(-ours[query]) == np.argsort(-theirs[query])).all()


def test_a_decoder_embeds_by_its_last_token(tiny):
    folder, reference = tiny
    ours, theirs = vectors(folder / "tiny-qwen3-embedding", sentences()[:60]), np.array(reference["Qwen3 vectors"])
    assert (ours * theirs).sum(axis=1).min() > 0.9999

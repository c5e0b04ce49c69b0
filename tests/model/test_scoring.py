"""Visibility scores: a number in 0..1 for each frame and phrase, from the phrase's own words and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from short_film import Film

from memreel.errors import UserError
from memreel.model.protocol import EvictedChunk
from memreel.model.scoring import Scorer, visibility
from memreel.model.sketch.model import SketchModel
from memreel.model.sketch.text import MAX_TOKENS

PHRASES = ["Mia, red hair, blue sweater", "Tom, black hair", "notebook, red", ""]


@pytest.fixture
def evicted(film: Film) -> EvictedChunk:
    chunk = film.chunks[2].evicted
    assert chunk is not None
    return chunk


def test_every_frame_has_a_score_in_0_to_1_for_every_phrase(sketch: SketchModel, evicted: EvictedChunk) -> None:
    scores = sketch.score(evicted, PHRASES)
    assert (scores.shape, scores.dtype, scores.device.type) == ((3, 4), torch.float32, "cpu")
    assert bool(((scores >= 0) & (scores <= 1)).all())
    assert len({round(float(s), 5) for s in scores[0]}) == 4
    nothing = torch.tensor(sketch.scorer.bias).sigmoid()
    torch.testing.assert_close(scores[:, 3], nothing.expand(3))
    assert sketch.score(evicted, []).shape == (3, 0)


def test_a_phrase_scores_the_same_alone_and_in_any_company(sketch: SketchModel, evicted: EvictedChunk) -> None:
    together = sketch.score(evicted, PHRASES)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(sketch.score(evicted, [PHRASES[i] for i in order]), together[:, order], rtol=0, atol=0)
    torch.testing.assert_close(sketch.score(evicted, PHRASES[1:2]), together[:, 1:2], rtol=0, atol=0)


def test_padding_of_a_phrases_tokens_is_excluded(sketch: SketchModel, evicted: EvictedChunk) -> None:
    with torch.inference_mode():
        states, mask = sketch.encoder.token_states(PHRASES[:1], MAX_TOKENS)
        padding = torch.randn(1, 40, states.shape[2], generator=torch.Generator().manual_seed(0)) * 3
        empty = torch.zeros(1, 40, dtype=torch.bool)
        padded = sketch.net.read(torch.cat((states, padding), 1), torch.cat((mask, empty), 1))
        found = visibility(evicted.queries, [padded], sketch.read(""), sketch.scorer)
    torch.testing.assert_close(found, sketch.score(evicted, PHRASES[:1]), atol=1e-5, rtol=1e-4)


def test_each_frame_is_scored_by_its_own_queries(sketch: SketchModel, evicted: EvictedChunk) -> None:
    assert evicted.queries.shape[0] == len(sketch.scorer.layers)
    text, empty = sketch.read(PHRASES[0]), sketch.read("")
    turned = visibility(evicted.queries.flip(1), [text], empty, sketch.scorer)
    torch.testing.assert_close(turned, visibility(evicted.queries, [text], empty, sketch.scorer).flip(0))


def test_what_looks_along_a_phrases_words_scores_higher(sketch: SketchModel, evicted: EvictedChunk) -> None:
    text, empty = sketch.read(PHRASES[0]), sketch.read("")
    queries, even = evicted.queries.clone(), Scorer(sketch.scorer.layers, 8)
    for i, layer in enumerate(even.layers):
        queries[i, 1, :10] += text.keys[layer][0, 2] - empty.keys[layer][0].mean(0)
    before, after = visibility(evicted.queries, [text], empty, even), visibility(queries, [text], empty, even)
    assert after[1, 0] > before[1, 0]
    assert torch.equal(after[[0, 2]], before[[0, 2]])


def test_a_head_counts_by_its_weight(sketch: SketchModel, evicted: EvictedChunk) -> None:
    texts, empty = [sketch.read(phrase) for phrase in PHRASES], sketch.read("")
    queries, heads = evicted.queries[:1], evicted.queries.shape[3]
    found = [
        visibility(queries, texts, empty, Scorer((0,), 8, (tuple(float(i == head) for i in range(heads)),), 0.25))
        for head in range(heads)
    ]
    together = visibility(queries, texts, empty, Scorer((0,), 8, ((1.0,) * heads,), 0.25 * heads))
    torch.testing.assert_close(torch.stack(found).logit().sum(0), together.logit(), atol=1e-4, rtol=1e-4)


def test_another_scorer_looks_at_its_own_layers_alone(sketch: SketchModel, evicted: EvictedChunk) -> None:
    layers, heads = sketch.scorer.layers, evicted.queries.shape[3]
    last = Scorer(layers[-1:], 8, ((1.0,) * heads,), 0.5)
    compared = Scorer(layers, 8, ((1.0,) * heads,) * len(layers), others={"last": last})
    text, empty = [sketch.read(PHRASES[0])], sketch.read("")
    queries, found = compared.asked(evicted.queries, "last")
    assert visibility(queries, text, empty, found).equal(visibility(evicted.queries[-1:], text, empty, last))
    queries, found = compared.asked(evicted.queries, None)
    assert queries is evicted.queries
    assert found is compared


def test_the_models_other_scorers_can_be_asked_and_say_something_else(
    sketch: SketchModel, evicted: EvictedChunk
) -> None:
    assert {"even", "layer-0", "layer-9", "name", "attributes"} <= set(sketch.scorers)
    own = sketch.score(evicted, PHRASES[:1])
    assert all(not sketch.score(evicted, PHRASES[:1], scorer=name).equal(own) for name in sketch.scorers)


def test_a_scorer_is_read_as_it_was_written(tmp_path: Path) -> None:
    other = Scorer((4,), 8, ((0.5, 0.5),), 0.1)
    scorer = Scorer((1, 4), 8, ((0.5, -1.25), (0.0, 2.0)), -0.75, {"layer-4": other})
    scorer.save(tmp_path / "scorer.json")
    assert Scorer.read(tmp_path / "scorer.json") == scorer


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"layers": [1], "top_tokens": 8, "weights": [[1], [2]], "bias": 0}',
        '{"layers": [1], "top_tokens": 8, "weights": [[1]], "bias": 0, "others": {"layer-2": '
        '{"layers": [2], "top_tokens": 8, "weights": [[1]], "bias": 0}}}',
    ],
)
def test_what_is_no_scorer_is_refused_by_its_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "scorer.json").write_text(text)
    with pytest.raises(UserError, match=r"scorer\.json: .*fit it again"):
        Scorer.read(tmp_path / "scorer.json")

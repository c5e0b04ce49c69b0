"""Contexts in training are those of a stream; texts and contexts may be shared by neighbouring rows."""

from __future__ import annotations

import pytest
import torch

from memreel.model.codec import VideoCodec
from memreel.model.context import FrameContext, TextContext
from memreel.model.minilm import sentence_encoder
from memreel.model.protocol import MemoryFrame
from memreel.model.scoring import Scorer
from memreel.model.sketch.model import SketchModel
from memreel.model.sketch.net import LATENT, LAYOUT, TOKENS, SketchNet
from memreel.training.flow import layout_times, pick, read_texts, turn, write_context

PROMPTS = [
    "A woman with red hair, Mia, waits in the library.",
    "Then Tom, in a green shirt and a hat, walks in; he waves.",
]


@pytest.fixture
def net(two_blocks: None) -> SketchNet:
    torch.manual_seed(2)
    made = SketchNet()
    torch.nn.init.normal_(made.transformer.head.head.weight, std=0.05)
    return made.eval().requires_grad_(False)


def test_a_training_context_is_what_a_stream_caches(net: SketchNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memreel.model.sketch.model.STEPS", 1)
    encoder = sentence_encoder("cpu")
    stream = SketchModel(net, VideoCodec((8, 8, 8)).eval(), encoder, Scorer((0, 1), 8), "cpu").open(3)
    owners, chunks, evicted = [0, 1, 1, 0], [], []
    for owner in owners:
        stream.set_prompt(PROMPTS[owner])
        chunk = stream.generate()
        chunks.append(chunk.latents)
        evicted += [chunk.evicted] if chunk.evicted is not None else []
    old = evicted[1]
    memory = [MemoryFrame(str(f), old.index, f, old.latents[f], old.keys[:, f], old.values[:, f]) for f in (2, 0)]
    cached = stream.model.workspace.lay_out([stream.cache.plan(memory)], TOKENS)
    assert cached is not None

    order = [(0, 0), (0, 1), (0, 2), (1, 2), (1, 0), *((c, f) for c in (2, 3) for f in range(3))]
    latents = torch.stack([chunks[c][f] for c, f in order])[None]
    ids, mask = encoder.tokenize(PROMPTS, 160)
    text = read_texts(net, encoder, ids, mask)
    trained = write_context(net, latents, text, torch.tensor([[owners[c] for c, _ in order]]), layout_times(11))
    assert trained is not None
    for one, two in ((trained.keys, cached.keys), (trained.values, cached.values)):
        laid = torch.stack(two)[:, :, : one[0].shape[1]]  # what follows is room for the chunk's own
        torch.testing.assert_close(torch.stack(one), laid, atol=1e-4, rtol=1e-4)


def test_rows_that_share_a_context_and_a_text_see_what_they_would_alone(net: SketchNet) -> None:
    torch.manual_seed(4)
    layers, heads = len(net.transformer.blocks), net.transformer.config.heads

    def tensors(tokens: int) -> list[torch.Tensor]:
        return [torch.randn(2, tokens, heads, 64) for _ in range(layers)]

    context, mask = FrameContext(tensors(84), tensors(84)), torch.ones(2, 16, dtype=torch.bool)
    mask[1, 9:] = False
    text = TextContext(tensors(16), tensors(16), mask)
    x, times, here = torch.randn(4, 3, *LATENT), torch.rand(4, 3) * 1000, turn(LAYOUT.current(), "cpu")
    shared = net.transformer(x, times, text, here, context)
    again = torch.tensor([0, 0, 1, 1])
    alone = FrameContext([k[again] for k in context.keys], [v[again] for v in context.values])
    torch.testing.assert_close(shared, net.transformer(x, times, pick(text, again), here, alone), atol=1e-4, rtol=1e-4)


def test_the_gradient_of_picked_texts_adds_up() -> None:
    rows = torch.tensor([2, 0, 2, 2])
    keys = torch.randn(3, 5, 2, 4, requires_grad=True)
    weight = torch.randn(4, 5, 2, 4)
    picked = pick(TextContext([keys], [keys.detach()], torch.ones(3, 5, dtype=torch.bool)), rows)
    (picked.keys[0] * weight).sum().backward()
    expected = torch.zeros(3, 5, 2, 4).index_add(0, rows, weight)
    torch.testing.assert_close(keys.grad, expected)

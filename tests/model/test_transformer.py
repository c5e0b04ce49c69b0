"""The video transformer: Wan's parameter names, patches, a timestep a frame, and the attention context."""

from __future__ import annotations

import pytest
import torch

from memreel.model.context import FrameContext, TextContext, Written
from memreel.model.rotary import rotate, rotation
from memreel.model.transformer import TransformerConfig, VideoTransformer, attend

SMALL = TransformerConfig(dim=48, heads=2, layers=2, ffn_dim=64, freq_dim=16, text_dim=20)
GRID = (2, 3)
LINEAR = ("weight", "bias")


def random_transformer(config: TransformerConfig = SMALL) -> VideoTransformer:
    """Return a network none of whose parts is switched off by its start at zero."""
    torch.manual_seed(5)
    net = VideoTransformer(config).eval().requires_grad_(False)
    for value in net.parameters():
        value.add_(torch.randn(value.shape) * 0.1)
    return net


@pytest.fixture(scope="module")
def net() -> VideoTransformer:
    return random_transformer()


def text_of(net: VideoTransformer, seed: int, batch: int = 1) -> TextContext:
    states = torch.randn(batch, 7, SMALL.text_dim, generator=torch.Generator().manual_seed(seed))
    return net.text_context(states, None)


def latents_of(seed: int, batch: int = 1, frames: int = 3) -> torch.Tensor:
    return torch.randn(batch, frames, 16, 4, 6, generator=torch.Generator().manual_seed(seed))


def test_parameters_are_named_as_in_wans_checkpoints() -> None:
    net = VideoTransformer(TransformerConfig(dim=24, heads=2, layers=30, ffn_dim=32, freq_dim=256, text_dim=40))
    attention = [f"{part}.{end}" for part in "qkvo" for end in LINEAR] + ["norm_q.weight", "norm_k.weight"]
    block = [f"{kind}_attn.{name}" for kind in ("self", "cross") for name in attention]
    block += [f"{part}.{end}" for part in ("norm3", "ffn.0", "ffn.2") for end in LINEAR] + ["modulation"]
    layers = ("patch_embedding", "text_embedding.0", "text_embedding.2", "time_embedding.0", "time_embedding.2")
    expected = {f"{layer}.{end}" for layer in (*layers, "time_projection.1", "head.head") for end in LINEAR}
    expected |= {"head.modulation"} | {f"blocks.{i}.{name}" for i in range(30) for name in block}
    assert set(net.state_dict()) == expected


def test_the_sizes_of_wan_1_3b_give_its_shapes_and_1_4_billion_parameters() -> None:
    with torch.device("meta"):
        net = VideoTransformer(TransformerConfig(1536, 12, 30, 8960, 256, 4096))
    assert net.config.head_dim == 128
    shapes = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    assert shapes["patch_embedding.weight"] == (1536, 16, 1, 2, 2)
    assert shapes["time_projection.1.weight"] == (6 * 1536, 1536)
    assert shapes["blocks.29.ffn.0.weight"] == (8960, 1536)
    assert shapes["blocks.0.modulation"] == (1, 6, 1536)
    assert shapes["head.head.weight"] == (64, 1536)
    assert shapes["head.modulation"] == (1, 2, 1536)
    assert sum(value.numel() for value in net.parameters()) == 1_418_996_800


def test_unpatchify_undoes_patchify() -> None:
    net = VideoTransformer(TransformerConfig(dim=64, heads=2, layers=1, ffn_dim=8, freq_dim=16, text_dim=8))
    with torch.no_grad():
        net.patch_embedding.bias = None
        eye = torch.eye(64).unflatten(1, (2, 2, 16)).permute(0, 3, 1, 2).unsqueeze(2)
        net.patch_embedding.weight.copy_(eye)
        latents = latents_of(1, batch=2)
        tokens = net.patchify(latents)
        assert tokens.shape == (2, 3, GRID[0] * GRID[1], 64)
        assert torch.equal(net.unpatchify(tokens, 4, 6), latents)


def test_velocity_has_the_shape_of_the_latents(net: VideoTransformer) -> None:
    turn = rotation([0.0, 1.0, 2.0], *GRID, SMALL.head_dim)
    out = net(latents_of(1, batch=2), torch.tensor([[0.0, 10.0, 900.0]] * 2), text_of(net, 1, 2), turn)
    assert out.shape == (2, 3, 16, 4, 6)
    assert out.dtype == torch.float32


def test_each_frame_is_modulated_by_its_own_timestep(net: VideoTransformer) -> None:
    together = net.embed_time(torch.tensor([[0.0, 400.0, 1000.0]]))
    for frame, timestep in enumerate((0.0, 400.0, 1000.0)):
        alone = net.embed_time(torch.tensor([[timestep]]))
        for whole, part in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[:, frame : frame + 1], part)
    assert together[1].shape == (1, 3, 6, SMALL.dim)
    latents, text = latents_of(2), text_of(net, 2)
    turn = rotation([0.0], *GRID, SMALL.head_dim)

    def apart(timesteps: list[float]) -> torch.Tensor:
        texts = TextContext(
            [k.expand(3, -1, -1, -1) for k in text.keys], [v.expand(3, -1, -1, -1) for v in text.values], None
        )
        return net(latents.transpose(0, 1), torch.tensor(timesteps)[:, None], texts, turn)

    changed = (apart([0, 400, 1000]) - apart([0, 900, 1000])).abs().amax((1, 2, 3, 4))
    assert [bool(c > 1e-3) for c in changed] == [False, True, False]
    written = [Written([], [], []), Written([], [], [])]
    for timesteps, into in zip(([0.0, 400.0, 1000.0], [0.0, 900.0, 1000.0]), written, strict=True):
        net(latents, torch.tensor([timesteps]), text, rotation([0, 1, 2], *GRID, SMALL.head_dim), None, into)
    first = (written[0].keys[0] - written[1].keys[0]).abs().unflatten(1, (3, -1)).amax((0, 2, 3, 4))
    assert [bool(c > 1e-3) for c in first] == [False, True, False]


def test_padding_of_the_text_is_not_attended(net: VideoTransformer) -> None:
    states = torch.randn(1, 7, SMALL.text_dim, generator=torch.Generator().manual_seed(4))
    padded = torch.cat((states, torch.full((1, 5, SMALL.text_dim), 9.0)), 1)
    mask = torch.arange(12)[None] < 7
    turn = rotation([0, 1, 2], *GRID, SMALL.head_dim)
    given = latents_of(3), torch.full((1, 3), 500.0)
    torch.testing.assert_close(
        net(*given, net.text_context(padded, mask), turn), net(*given, net.text_context(states, None), turn)
    )


def test_frames_in_the_context_act_as_frames_beside_the_current_ones(net: VideoTransformer) -> None:
    """In one layer, attending to written keys and values is attending to the frames that wrote them."""
    one = random_transformer(TransformerConfig(48, 2, 1, 64, 16, 20))
    latents, text = latents_of(6, frames=5), text_of(one, 6)
    times = [0.0, 1.0, 7.0, 8.0, 9.0]
    timesteps = torch.tensor([[0.0, 0.0, 700.0, 700.0, 700.0]])
    whole = one(latents, timesteps, text, rotation(times, *GRID, SMALL.head_dim))
    written = Written([], [], [])
    one(latents[:, :2], timesteps[:, :2], text, rotation([0.0, 1.0], *GRID, SMALL.head_dim), None, written)
    assert written.keys[0].shape == (1, 2 * 6, 2, 24)
    context = FrameContext([rotate(written.keys[0], rotation([0.0, 1.0], *GRID, 24))], written.values)
    now = one(latents[:, 2:], timesteps[:, 2:], text, rotation(times[2:], *GRID, 24), context)
    torch.testing.assert_close(now, whole[:, 2:], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(
        one(latents[:, 2:], timesteps[:, 2:], text, rotation(times[2:], *GRID, 24)), now, atol=1e-3
    )


def test_attention_is_softmax_over_keys() -> None:
    q, k, v = (torch.randn(2, n, 3, 8, generator=torch.Generator().manual_seed(n)) for n in (4, 5, 5))
    v = torch.randn(2, 5, 3, 8, generator=torch.Generator().manual_seed(9))
    weights = (torch.einsum("bqhd,bkhd->bhqk", q, k) / 8**0.5).softmax(-1)
    torch.testing.assert_close(attend(q, k, v), torch.einsum("bhqk,bkhd->bqhd", weights, v).flatten(2))


def test_half_precision_weights_give_nearly_the_same_velocity(net: VideoTransformer) -> None:
    half = random_transformer().bfloat16()
    turn = rotation([0, 1, 2], *GRID, SMALL.head_dim)
    states = torch.randn(1, 7, SMALL.text_dim, generator=torch.Generator().manual_seed(1))
    given = latents_of(1), torch.tensor([[0.0, 500.0, 1000.0]])
    exact = net(*given, net.text_context(states, None), turn)
    rough = half(*given, half.text_context(states.bfloat16(), None), turn)
    assert rough.dtype == torch.float32
    assert float((rough - exact).norm() / exact.norm()) < 0.05


@pytest.mark.parametrize("frames", [1, 3])
def test_a_kernel_that_divides_queries_gets_the_last_ones_again_and_changes_nothing(
    net: VideoTransformer, monkeypatch: pytest.MonkeyPatch, frames: int
) -> None:
    latents, text = latents_of(1, frames=frames), text_of(net, 2)
    turn = rotation([9.0 + i for i in range(frames)], *GRID, net.config.head_dim, "cpu")
    plain = net(latents, torch.full((1, frames), 500.0), text, turn)

    def kernel(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: None, share: tuple[int, int]) -> torch.Tensor:
        whole, parts = share
        rest = (q.shape[1] - whole) // parts
        assert scale is None
        assert all(torch.equal(q[:, whole + i * rest :][:, :rest], q[:, whole : whole + rest]) for i in range(parts))
        return attend(q[:, : whole + rest], k, v)

    monkeypatch.setattr(net, "kernel", kernel)
    monkeypatch.setattr(net, "shares", lambda queries: (queries - 4, 3))
    assert torch.equal(net(latents, torch.full((1, frames), 500.0), text, turn), plain)

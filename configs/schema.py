"""The configuration of a run: every field with its bounds, its default and what it is for.

Plain pydantic models, frozen, with unknown keys refused. This module knows nothing of files, presets or the command
line (that is `memreel.configs`), and nothing of what its fields switch on. Secrets never stand here: a chat model's key
is read from the environment where the request is made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Strategy = Literal["attention", "random", "recency"]
Retrieval = Literal["identity", "semantic", "recency", "first", "random", "none"]
Words = Literal["all", "name", "attributes"]


class Section(BaseModel):
    """What all sections share: frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class WanConfig(Section):
    """How a causal Wan 2.1 checkpoint is run: its files, what it was trained to attend to, and how it is sped up."""

    checkpoint: Path | None = Field(
        None, description="The causal transformer, .pt or .safetensors; null: 'causal.pt' or 'causal.safetensors' in "
        "the folder of weights."
    )  # fmt: skip
    entry: Literal["auto", "generator_ema", "generator", "model"] = Field(
        "auto", description="Which of the checkpoint's networks to take; auto: the first of these that is there."
    )
    lora: Path | None = Field(None, description="LoRA that is merged into the transformer when it is loaded.")
    lora_scale: float = Field(1.0, description="Strength of the LoRA; 1 is what it was trained at (alpha = rank).")
    width: int = Field(832, ge=32, le=4096, description="Pixels a row, a multiple of 16.")
    height: int = Field(480, ge=32, le=4096, description="Rows of pixels, a multiple of 16.")
    sink: int = Field(3, ge=0, le=3, multiple_of=3, description="Latent frames of the first chunk that stay: 0 or 3.")
    memory: int = Field(3, ge=0, le=64, description="Slots for memory frames.")
    local: int = Field(6, ge=3, le=60, multiple_of=3, description="Newest latent frames attended, the current 3 apart.")
    rotary: Literal["slots", "absolute"] = Field(
        "slots",
        description="Time positions: by place in the context, the same for every chunk, or by place in the video.",
    )
    steps: tuple[int, ...] = Field(
        (1000, 750, 500, 250), min_length=1, description="Nominal timesteps, falling, before the shift."
    )
    shift: float = Field(5.0, gt=0, description="Shift of the noise levels towards noise.")
    switch: Literal["recache", "soft", "hard"] = Field(
        "recache",
        description="At a new prompt: encode the local window again under it, blend the old text into the new one over "
        "some chunks, or just go on.",
    )
    codec: Literal["wan", "tiny"] = Field("wan", description="Decoder of latents: Wan's own VAE, or taehv (taew2_1).")
    tiny: Path | None = Field(
        None, description="taehv's weights for codec=tiny; null: 'taew2_1.pth' in the folder of weights."
    )
    precision: Literal["bf16", "fp8", "fp32"] = Field(
        "bf16", description="fp8: bf16, but the blocks' linear layers in e4m3 with a scale a row."
    )
    text_device: Literal["auto", "cpu"] = Field(
        "cpu", description="Where the 11 GB text encoder runs: in host memory, or with the rest (auto)."
    )

    speed: Literal["eager", "compile", "graphs"] = Field(
        "eager",
        description="eager starts at once; compile fuses the blocks' parts at the first chunks, once a process; graphs "
        "also records passes as CUDA graphs, which frees the host.",
    )
    attention: Literal["auto", "flash3", "cudnn", "flash", "efficient", "math", "fp8"] = Field(
        "auto",
        description="Attention kernel; auto: the fastest exact one of those that run here, by a short probe. "
        "flash3 and fp8 (numbers in e4m3) need a Hopper and FlashAttention 3 (pip install 'memreel[hopper]').",
    )
    snapshot_every: int = Field(
        240,
        ge=0,
        description="Chunks between snapshots of the stream, 0: none. A resumed run does the clean passes since the "
        "last one again, each a fifth of its chunk; a snapshot is gigabytes, and the newest two are kept.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name in ("width", "height"):
            size = getattr(self, name)
            if size % 16:
                raise ValueError(
                    f"{name} must be a multiple of 16 pixels; the nearest is {max(32, round(size / 16) * 16)}"
                )
        if any(a <= b for a, b in zip(self.steps, self.steps[1:], strict=False)) or not (
            0 < self.steps[-1] <= self.steps[0] <= 1000
        ):
            raise ValueError("steps must fall from at most 1000 to more than 0")
        return self


class ModelConfig(Section):
    """Which video model renders, and where."""

    name: str = Field("sketch", min_length=1, description="Video model by name; 'sketch' is shipped with memreel.")
    weights: Path | None = Field(
        None, description="Folder of the model's weights; null: those shipped for the named model."
    )
    device: str = Field("auto", min_length=1, description="'cpu', 'cuda', 'cuda:1' …; 'auto': a GPU if there is one.")
    wan: WanConfig | None = Field(None, description="Settings of the model 'wan'; null for the others.")

    @model_validator(mode="before")
    @classmethod
    def _own_settings(cls, values: Any) -> Any:
        """Give the model its section of settings, and refuse that of another."""
        if not isinstance(values, dict):
            return values
        name = values.get("name", "sketch")
        if name == "wan":
            return {**values, "wan": values.get("wan") or {}}
        if values.get("wan") is not None:
            raise ValueError(f"the section 'wan' is for model.name=wan, not for '{name}'; take it out")
        return values


class MemoryConfig(Section):
    """What the bank keeps of a video and what it hands back at a new prompt."""

    strategy: Strategy = Field(
        "attention",
        description="How an evicted frame is scored for an entity: by the model's text cross-attention, at random "
        "(by the seed), or by how recent it is.",
    )
    scorer: str | None = Field(
        None,
        min_length=1,
        description="Which of the video model's scorers weighs its attention heads for strategy=attention; null: the "
        "model's own. Others are there to be compared with it: 'even', 'layer-0' ….",
    )
    words: Words = Field(
        "all", description="The words by which a frame is scored for an entity: name and attributes, or one of them."
    )
    retrieval: Retrieval = Field(
        "identity",
        description="What a new prompt starts with: frames of its entities' global IDs, frames of the most similar "
        "earlier prompt, the newest, the first or random frames of the video, or nothing (and then the memory stays "
        "empty).",
    )
    store: Literal["kv", "latent"] = Field(
        "kv",
        description="What is kept of a memory frame: its keys and values, or its latent alone (a thousandth with "
        "Wan), which is encoded again when the frame is attended to.",
    )
    slots: int = Field(3, ge=0, le=64, description="Memory frames a chunk attends to, at most.")
    frames_per_entity: int = Field(3, ge=1, le=64, description="Memory frames kept per entity, at most.")
    scenery_frames: int = Field(
        12,
        ge=0,
        le=4096,
        description="Memory frames kept in all, newest prompts first, in which no entity was recognised (a landscape).",
    )
    presence: float = Field(
        0.6, ge=0, le=1, description="An entity is in a frame only if its score there is at least this …"
    )
    presence_ratio: float = Field(
        0.6, ge=0, le=1, description="… and at least this share of the best score that any entity has in the frame."
    )
    prefer_alone: float = Field(
        0.1, ge=0, le=10, description="A frame counts this share more for an entity that is alone in it."
    )
    prefer_described: float = Field(
        0.1, ge=0, le=10, description="A frame counts this share more for an entity that its own prompt described."
    )
    sink_discount: float = Field(
        0.5, ge=0, le=1, description="A frame of the video's first chunk counts this share less (it is in the sink)."
    )


class PromptConfig(Section):
    """What happens to a prompt's text on its way to the video model."""

    enrich: bool = Field(
        True, description="Append the cast's attributes of entities that the prompt names without describing them."
    )


class VideoConfig(Section):
    """How the video leaves the run while it is made; ``live.mp4`` grows in any case."""

    hls: bool = Field(False, description="Also keep an HLS playlist, live.m3u8, for browsers and players on a network.")


def address_fault(address: str) -> str:
    """Return what is wrong with the address of a chat server, or an empty string."""
    if not address.startswith(("http://", "https://")):
        return "must begin with http:// or https://, such as http://localhost:8000/v1"
    parts = urlsplit(address)
    if parts.username or parts.password or parts.query:
        return "must not carry a user, a password or a key: it is written down; put the key into OPENAI_API_KEY"
    return ""


class AgentConfig(Section):
    """Who reads the prompts, the built-in analyst or a chat model, and who steers.

    An OpenAI-compatible server is spoken to unless the model is named as ``provider:model``. Keys are taken from the
    environment only: ``OPENAI_API_KEY``, or what the provider's client looks for.
    """

    profile: Literal["per_prompt", "agent"] = Field(
        "per_prompt",
        description="Who steers: the script's order, the chat model being asked once a prompt, or the chat model in "
        "every step, by tool calls within the director's budgets.",
    )
    model: str | None = Field(
        None, description="Chat model; null: MEMREEL_LLM_MODEL from the environment; unset: the built-in analyst."
    )
    base_url: str | None = Field(
        None, description="Address of the chat server; null: MEMREEL_LLM_BASE_URL, else the provider's own."
    )
    timeout_s: float = Field(60.0, gt=0, description="Seconds that one chat request may take.")
    retries: int = Field(2, ge=0, le=10, description="Further attempts after a request that failed in passing.")

    @field_validator("base_url")
    @classmethod
    def _no_secret(cls, address: str | None) -> str | None:
        if address and (fault := address_fault(address)):
            raise ValueError(fault)
        return address


class VerifyConfig(Section):
    """Whether what was drawn is looked at."""

    attributes: bool = Field(
        False, description="Look at a new entity's best memory frame and correct its attributes before the next prompt."
    )
    model: str | None = Field(
        None, description="Chat model that sees, at the agent's address; null: the reader of 'sketch' pictures."
    )
    weight: float = Field(
        0.0, ge=0, le=1, description="Share of what was seen in a frame's score, beside the video model's attention."
    )


class DirectorConfig(Section):
    """Budgets of a chat model that steers (``agent.profile: agent``)."""

    max_calls: int = Field(200, ge=1, description="Chat requests; then the script goes on without it.")
    max_chunks: int | None = Field(
        None, ge=1, description="Chunks made on its orders, again-made ones included; null: twice the script's."
    )
    max_seconds: float = Field(600.0, gt=0, description="Seconds of waiting for its answers; then as with calls.")


class FilmConfig(Section):
    """How a film's segments are checked, joined and asked for; nothing else reads it."""

    vision: str | None = Field(
        None,
        description="Chat model that looks at pictures; null: MEMREEL_VISION_MODEL from the environment; unset: rules "
        "for the drawn world, else likeness of colours and shapes.",
    )
    quality: Literal["draft", "standard", "premium"] = Field("standard", description="What routing looks for.")
    key_frames: float = Field(
        0.5, gt=0, le=4, description="Moments a second at which a segment is looked at and taken into the bank."
    )
    anchor_every: int = Field(
        4,
        ge=1,
        le=100,
        description="Every how-manieth of them is an anchor: later scenes of its place are compared with it.",
    )
    threshold: float = Field(0.6, ge=0, le=1, description="Consistency below which a segment is generated again.")
    retakes: int = Field(2, ge=0, le=5, description="How often a segment is generated again, at most.")
    spatial: float = Field(0.3, ge=0, le=1, description="Weight of everybody's crop against an earlier picture of it.")
    temporal: float = Field(0.3, ge=0, le=1, description="Weight of the first picture against the last three before.")
    character: float = Field(0.4, ge=0, le=1, description="Weight of everybody's looks being right.")
    overlap: int = Field(6, ge=0, le=48, description="Pictures that a cross-fade takes.")
    decay: float = Field(2.0, ge=1, le=16, description="Base of the weight of older pictures: decay^-age in segments.")
    context_frames: int = Field(100, ge=1, le=1000, description="Earlier pictures that are looked back at, at most.")
    memory_mb: int | None = Field(
        None, ge=1, description="Memory that the process may use, in MB; null: the machine's, whoever uses it."
    )


class RunConfig(Section):
    """Everything that decides how a script becomes a video."""

    model: ModelConfig = Field(default_factory=ModelConfig, description="The video model.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the video's noise: the same seed repeats it bit for bit.")
    chunks_per_prompt: int = Field(
        13, ge=1, le=100_000, description="Chunks per prompt; a chunk is 12 pictures, 0.75 s at 16 pictures a second."
    )
    memory: MemoryConfig = Field(default_factory=MemoryConfig, description="The bank.")
    prompt: PromptConfig = Field(default_factory=PromptConfig, description="The text for the video model.")
    video: VideoConfig = Field(default_factory=VideoConfig, description="The video while it is made.")
    agent: AgentConfig = Field(default_factory=AgentConfig, description="The reader of prompts, and who steers.")
    verify: VerifyConfig = Field(default_factory=VerifyConfig, description="Looking at what was drawn.")
    director: DirectorConfig = Field(default_factory=DirectorConfig, description="Budgets of the one who steers.")
    film: FilmConfig = Field(default_factory=FilmConfig, description="What memreel film adds.")

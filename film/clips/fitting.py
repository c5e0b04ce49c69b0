"""Fits a wish to what one hosted model can do: adapted where that does no harm, refused before anything is sent.

Adapted: a length between those on offer (the next longer; the merge cuts it), pictures that are too large, references
that have no room, words for a picture (``@tag``) put the way the provider wants them. Refused: what would make another
clip than was asked for. Every adaption is a sentence for the event log and the report. Nothing here knows the network.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from memreel.errors import UserError
from memreel.film.clips.protocol import ClipRequest, Ratio, Reference
from memreel.film.clips.table import Model, Offer, Painter

TAG = re.compile(r"[A-Za-z]\w{2,15}", re.ASCII)
SIDE = 2048
"""Pixels that the longer side of a picture is reduced to when its file is too large."""


@dataclass(frozen=True)
class Still:
    """A picture as it goes over the wire."""

    data: bytes
    mime: str


@dataclass(frozen=True)
class Painting:
    """A first frame to be painted before the clip: by which image model, from what, in which ratio (its own word)."""

    painter: Painter
    prompt: str
    ratio: str
    references: tuple[tuple[str, Still], ...]


@dataclass(frozen=True)
class Fitted:
    """A wish in the form in which one model can serve it. ``seconds`` are whole; ``ratio`` is the provider's word."""

    offer: Offer
    prompt: str
    seconds: int
    ratio: str
    seed: int
    first_frame: Still | None
    last_frame: Still | None
    references: tuple[Still, ...]
    painting: Painting | None
    notes: tuple[str, ...]


def prompt_units(text: str) -> int:
    """Count UTF-16 code units, the measure of providers' limits: an emoji counts two."""
    return len(text.encode("utf-16-le")) // 2


def fit(name: str, model: Model, request: ClipRequest) -> Fitted:
    """Return the request as ``model`` can serve it.

    Raises:
        UserError: it cannot, not even adapted; or a picture cannot be read. The message names the limit.
    """
    where = f"clip {request.key}: {name}"
    notes: list[str] = []
    if not request.prompt.strip():
        raise UserError(f"{where} needs a prompt, and there is none")
    wanted = _references(where, model, request, notes)
    painter = model.painter if wanted and not model.references else None
    first = request.first_frame if model.first_frame else None
    if request.first_frame and first is None:
        notes.append("takes no first frame: the clip does not continue the picture before")
    last = request.last_frame if model.last_frame and first else None
    if request.last_frame and last is None:
        notes.append("last frame not used: " + ("it needs a first frame" if model.last_frame else "not supported"))
    seconds = _seconds(where, model, request.seconds, bool(wanted) and not painter, notes)
    offer = model.offer(request.quality)
    if model.offer(request.quality) is not model.quality.get(request.quality):
        notes.append(f"no {request.quality} quality on offer, {offer.model} is used")
    if not model.seed:
        notes.append("takes no seed")
    opened = [(reference.tag, _still(where, reference.path, model, notes)) for reference in wanted]
    painting = None
    if painter:
        notes.append(f"takes no references: a first frame is painted from them by {painter.model}")
        painting = Painting(
            painter,
            _limited(
                where,
                _with_captions(request.prompt, wanted, painter.prompt_units),
                painter.prompt_units,
                f" for {painter.model}",
            ),
            _ratio(where, painter.ratios, request),
            tuple(opened),
        )
    return Fitted(
        offer=offer,
        prompt=_limited(where, _prompt(model, request, () if painter else wanted), model.prompt_units),
        seconds=seconds,
        ratio=_ratio(where, (model.ratios_with_first_frame if first or painter else {}) or model.ratios, request),
        seed=request.seed % 2**32,
        first_frame=_still(where, first, model, notes) if first else None,
        last_frame=_still(where, last, model, notes) if last else None,
        references=() if painter else tuple(still for _, still in opened),
        painting=painting,
        notes=tuple(notes),
    )


def paint(fitted: Fitted, picture: Path, model: Model) -> Fitted:
    """Return the request with the painted ``picture`` as its first frame.

    Raises:
        UserError: the picture cannot be read.
    """
    return replace(fitted, first_frame=_still("painted first frame", picture, model, []), painting=None)


def _references(where: str, model: Model, request: ClipRequest, notes: list[str]) -> tuple[Reference, ...]:
    for reference in request.references:
        if not TAG.fullmatch(reference.tag):
            raise UserError(
                f"{where}: a reference's tag is 3 to 16 letters, digits or underscores, not '{reference.tag}'"
            )
    if request.references and request.first_frame and model.first_frame:
        notes.append("references not used: a first frame is continued, and both at once are not possible")
        return ()
    room = model.references or (model.painter.references if model.painter else 0)
    if len(request.references) > room:
        names = ", ".join(f"@{reference.tag}" for reference in request.references[room:])
        notes.append(f"takes {room or 'no'} references: {names} left out")
    return request.references[:room]


def _seconds(where: str, model: Model, asked: float, references: bool, notes: list[str]) -> int:
    lengths = (model.lengths_with_references if references else ()) or model.lengths
    if model.seconds and not lengths:
        low, high = model.seconds
        lengths = tuple(range(low, high + 1))
    longer = [length for length in lengths if length >= asked - 1e-6]
    if not longer or not math.isfinite(asked) or asked <= 0:
        raise UserError(f"{where} makes clips of {min(lengths)} to {max(lengths)} s, not {asked:g} s")
    if longer[0] != asked:
        notes.append(f"{asked:g} s asked, {longer[0]} s made: the next length on offer")
    return longer[0]


def _ratio(where: str, offered: Mapping[Ratio, str], request: ClipRequest) -> str:
    if request.ratio not in offered:
        raise UserError(f"{where} offers {', '.join(offered)} here, not {request.ratio}")
    return offered[request.ratio]


def _prompt(model: Model, request: ClipRequest, references: tuple[Reference, ...]) -> str:
    """Say pictures the provider's way: Interactions count them, the others are told in words what was a tag."""
    text = request.prompt
    if model.api == "interactions":
        for number, reference in enumerate(references):
            text, count = re.subn(rf"@{reference.tag}\b", f"<IMAGE_REF_{number}>", text)
            if not count:
                text = _added(text, f"<IMAGE_REF_{number}> shows {_bare(reference)}.", model.prompt_units)
    words = {reference.tag: _bare(reference) for reference in request.references}
    return re.sub(r"@(\w+)", lambda found: words.get(found[1], found[0]), text)


def _with_captions(prompt: str, references: tuple[Reference, ...], limit: int) -> str:
    for reference in references:
        if not re.search(rf"@{reference.tag}\b", prompt):
            prompt = _added(prompt, f"@{reference.tag} is {_bare(reference)}.", limit)
    return prompt


def _bare(reference: Reference) -> str:
    """Return a caption as part of a sentence."""
    return reference.caption.strip().rstrip(".")


def _added(prompt: str, sentence: str, limit: int) -> str:
    """Add a sentence of memreel's own, unless the user's words leave no room for it."""
    longer = f"{prompt.rstrip()} {sentence}"
    return longer if prompt_units(longer) <= limit else prompt


def _limited(where: str, prompt: str, limit: int, whose: str = "") -> str:
    units = prompt_units(prompt)
    if units > limit:
        raise UserError(
            f"{where} takes prompts of up to {limit} characters (UTF-16 units){whose}, this one has {units}: shorten it"
        )
    return prompt


def _still(where: str, path: Path, model: Model, notes: list[str]) -> Still:
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            mime = Image.MIME.get(image.format or "", "")
            if mime in ("image/png", "image/jpeg", "image/webp") and _encoded(data) <= model.picture_bytes:
                return Still(data, mime)
            notes.append(f"{path.name} sent as a smaller JPEG")
            image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
            whole = image.convert("RGB")
    except OSError as error:
        raise UserError(f"{where}: {path} is not a picture that can be read: {error.strerror or error}") from error
    for quality in (92, 80, 60, 40):
        buffer = io.BytesIO()
        whole.save(buffer, "JPEG", quality=quality)
        if _encoded(buffer.getvalue()) <= model.picture_bytes:
            return Still(buffer.getvalue(), "image/jpeg")
    raise UserError(f"{where}: {path} cannot be made smaller than {model.picture_bytes} bytes; give a simpler picture")


def _encoded(data: bytes) -> int:
    """Return how long the data are in base64."""
    return (len(data) + 2) // 3 * 4

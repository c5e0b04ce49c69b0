"""From a plan and its clips to the film's file: which picture count, fade and chapter each scene gets.

Sizes and rates come from the clips: the film has those of its largest clip and of its fastest. A scene's end is rounded
to the nearest picture from the film's beginning, so rounding never adds up. A clip that was made from the last picture
of the one before begins with that picture once more, which the film leaves out. The file itself is written by
`memreel.film.merge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memreel.film.merge import Merged, Segment, merge
from memreel.film.plan import Plan
from memreel.output.pictures import VideoFacts

LONGEST_CHAPTER = 80


def shown(facts: VideoFacts, seconds: float, repeats: int) -> range:
    """Return the numbers of a clip's pictures that the film shows of it, by the clip's own count; at least one.

    Args:
        facts: the clip's.
        seconds: how long its scene lasts.
        repeats: pictures at its beginning that the clip before has shown.
    """
    begin = min(repeats, facts.pictures - 1)
    return range(begin, max(begin + 1, min(begin + round(seconds * facts.fps), facts.pictures)))


def join(
    plan: Plan,
    clips: Sequence[Path],
    facts: Sequence[VideoFacts],
    path: Path,
    overlap: int,
    repeats: Sequence[int] | None = None,
) -> Merged:
    """Write the film of a plan's clips, one a scene, to ``path``.

    ``repeats`` are the pictures at the beginning of each clip that are left out (see `shown`).

    Raises:
        ModelError: a clip cannot be decoded, or is much shorter than its scene.
        StoreError: the film cannot be written.
    """
    fps = max(1, round(max(one.fps for one in facts)))
    largest = max(facts, key=lambda one: one.width * one.height)
    ends = [round(sum(scene.seconds for scene in plan.scenes[: n + 1]) * fps) for n in range(len(plan.scenes))]
    segments = [
        Segment(
            clip,
            max(1, end - start),
            fade=scene.transition == "crossfade",
            chapter=None if scene.transition == "continuation" else _chapter(scene.text, number),
            skip=skip if scene.transition == "continuation" else 0,
        )
        for number, (scene, clip, start, end, skip) in enumerate(
            zip(plan.scenes, clips, [0, *ends], ends, repeats or [0] * len(clips), strict=False), start=1
        )
    ]
    width, height = largest.width - largest.width % 2, largest.height - largest.height % 2
    return merge(segments, path, width=width, height=height, fps=fps, overlap=overlap)


def _chapter(text: str, number: int) -> str:
    short = text if len(text) <= LONGEST_CHAPTER else text[:LONGEST_CHAPTER].rsplit(" ", 1)[0] + " …"
    return f"{number}. {short}"

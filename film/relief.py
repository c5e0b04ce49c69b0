"""What a film lets go of when memory runs short: models that nothing uses, then pictures, then its own model.

Everything let go of lies on the disk and is loaded again when it is needed: weights in their files, pictures in the
clips. When to do it is `memreel.film.resources`' question.
"""

from __future__ import annotations

import memreel.model
from memreel.film.clips.local import LocalStream
from memreel.film.pictures import Kept
from memreel.film.resources import Relief
from memreel.model import minilm


class FilmRelief(Relief):
    """The pictures and models of one film."""

    def __init__(self, pictures: Kept, local: LocalStream | None) -> None:
        """Let go of ``pictures``, and of this machine's clip model, if the film has one."""
        self._pictures, self._local = pictures, local

    def drop_idle_models(self) -> None:
        """Let go of the sentence encoder, and of video models that no clip has been made with."""
        memreel.model.forget()
        minilm.forget()
        if self._local is not None and not self._local.used:
            self._local.release()

    def compress(self) -> None:
        """Keep pictures as JPEG."""
        self._pictures.compress()

    def offload(self) -> None:
        """Let go of all pictures, and of the film's own model between two clips: the disk has them."""
        self._pictures.offload()
        if self._local is not None:
            self._local.release()

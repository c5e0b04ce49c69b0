"""New colour words for a trained model: pairs of tellings, their alignment, and that the refiner moves towards them."""

from __future__ import annotations

from itertools import cycle
from random import Random

import pytest
import torch

from memreel.model.minilm import sentence_encoder
from memreel.model.sketch.weights import load_net
from memreel.training.words import align, lesson, plain, refined, teach, tellings
from memreel.world import palette
from memreel.world.stories import make_story


def test_a_being_in_plain_words_has_the_same_look_and_garments() -> None:
    for seed in range(20):
        for being in make_story(Random(seed)).beings.values():
            same = plain(being)
            assert same.look == being.look
            for name, phrase in same.words.items():
                colour, _, garment = phrase.partition(" ")
                assert colour in palette.COLOUR_WORDS
                assert being.words[name].endswith(garment)


def test_other_words_for_a_colour_stand_for_the_plain_one() -> None:
    encoder = sentence_encoder("cpu")

    def meanings(told: str, meant: str) -> list[tuple[str, str]]:
        ids, plain_ids = (encoder.tokenizer.encode(t) for t in (told, meant))
        found = align(ids.ids, plain_ids.ids)
        assert found is not None
        meaning = [plain_ids.tokens[i] for i in found.standing]
        return [pair for pair in zip(ids.tokens, meaning, strict=True) if pair[0] != pair[1]]

    assert meanings("a scarlet hat waits", "a red hat waits") == [("scarlet", "red")]
    assert meanings("a sky-blue hat waits", "a blue hat waits") == [("sky", "blue"), ("-", "blue")]
    assert meanings("a lilac hat", "a purple hat") == [("lila", "purple"), ("##c", "purple")]
    assert align([1, 2, 3], [1, 2, 2, 3]) is None


def test_lessons_bring_other_words_nearer_to_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, net, before = sentence_encoder("cpu"), load_net(), load_net()
    told, meant, stands = lesson(tellings(Random(77)), encoder, 4)
    monkeypatch.setattr("memreel.training.words.tellings", lambda _: cycle(zip(told, meant, strict=True)))
    teach(net, encoder, seconds=8.0, batch=4, seed=3)
    assert not any(parameter.requires_grad for parameter in net.parameters())
    with torch.no_grad():
        goal = refined(before, encoder, meant)[0]
        errors = []
        for one in (before, net):
            states = refined(one, encoder, told)[0]
            away = [
                (states[row, at] - goal[row, stood]).square().mean() * weight
                for row, found in enumerate(stands)
                for at, (stood, weight) in enumerate(zip(found.standing, found.weights, strict=True))
            ]
            errors.append(float(torch.stack(away).mean()))
    assert errors[1] < 0.7 * errors[0]
    for name, value in net.transformer.state_dict().items():
        assert torch.equal(value, before.transformer.state_dict()[name])

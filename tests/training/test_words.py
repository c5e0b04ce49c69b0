"""New colour words for a trained model: pairs of tellings, their alignment, and that the refiner moves towards them."""

from __future__ import annotations

from random import Random

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
                assert phrase.split()[0] in {*palette.COLOUR_WORDS}
                assert phrase.split()[1:] == being.words[name].split()[-(len(phrase.split()) - 1) :][: len(phrase)] or (
                    name == "colour"
                )


def test_other_words_for_a_colour_stand_for_the_plain_one() -> None:
    encoder = sentence_encoder("cpu")

    def meanings(told: str, meant: str) -> list[tuple[str, str]]:
        ids, plain_ids = (encoder.tokenizer.encode(t) for t in (told, meant))
        found = align(ids.ids, plain_ids.ids)
        assert found is not None
        return [(a, plain_ids.tokens[b]) for a, b in zip(ids.tokens, found, strict=True) if a != plain_ids.tokens[b]]

    assert meanings("a scarlet hat waits", "a red hat waits") == [("scarlet", "red")]
    assert meanings("a sky-blue hat waits", "a blue hat waits") == [("sky", "blue"), ("-", "blue")]
    assert meanings("a lilac hat", "a purple hat") == [("lila", "purple"), ("##c", "purple")]
    assert align([1, 2, 3], [1, 2, 2, 3]) is None


def test_lessons_bring_other_words_nearer_to_plain_ones() -> None:
    encoder, net = sentence_encoder("cpu"), load_net()
    before = load_net()
    log = teach(net, encoder, seconds=6.0, batch=4, seed=3)
    assert all(error > 0 for error in log)
    assert not net.refiner.project.weight.requires_grad
    told, meant, stands = lesson(tellings(Random(77)), encoder, 8)
    index = torch.zeros(8, max(map(len, stands)), dtype=torch.long)
    for row, found in enumerate(stands):
        index[row, : len(found)] = torch.tensor(found)
    with torch.no_grad():
        goal = refined(before, encoder, meant)[0]
        goal = goal.gather(1, index.unsqueeze(-1).expand(-1, -1, goal.shape[-1]))
        errors = []
        for one in (before, net):
            states, mask = refined(one, encoder, told)
            errors.append(float((states - goal).square().mean(-1)[mask].mean()))
    assert errors[1] < errors[0]
    for name, value in net.transformer.state_dict().items():
        assert torch.equal(value, before.transformer.state_dict()[name])

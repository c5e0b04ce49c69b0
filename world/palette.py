"""What can be seen and said in the drawn world: colours, kinds of figures and objects, places, names and synonyms.

One table a fact. The words marked as held out are never used in training; they are there to measure whether an unseen
synonym or name works.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml

RGB = tuple[int, int, int]
HeldOut = Literal["nothing", "names", "words", "both"]
"""Which of the names and colour words of a story are ones that training never uses."""

HAIR: dict[str, RGB] = {
    "black": (34, 30, 38),
    "brown": (112, 66, 36),
    "blonde": (240, 204, 92),
    "red": (206, 70, 30),
    "white": (226, 228, 236),
    "blue": (52, 104, 206),
}
TOP: dict[str, RGB] = {
    "red": (208, 38, 46),
    "orange": (244, 138, 32),
    "yellow": (250, 216, 52),
    "green": (46, 150, 70),
    "blue": (40, 92, 204),
    "purple": (128, 60, 168),
    "pink": (246, 140, 186),
    "white": (240, 240, 244),
}
HAT: dict[str, RGB | None] = {
    "none": None,
    "red": (190, 26, 40),
    "yellow": (252, 222, 70),
    "green": (30, 130, 62),
    "blue": (30, 78, 190),
    "black": (36, 34, 40),
}
FUR: dict[str, RGB] = {
    "brown": (128, 80, 44),
    "black": (40, 38, 44),
    "white": (236, 234, 230),
    "orange": (232, 134, 44),
}
THING: dict[str, RGB] = {name: TOP[name] for name in ("red", "orange", "yellow", "green", "blue", "purple", "pink")}
SKIN: RGB = (236, 186, 148)
INK: RGB = (40, 32, 36)

PEOPLE = ("woman", "man")
ANIMALS = ("dog", "cat")
ROBOT = "robot"
OBJECTS = ("notebook", "umbrella", "balloon", "suitcase", "lantern", "ball", "box")
PLACES = ("library", "kitchen", "beach", "forest", "street", "park", "desert", "mountain", "cafe", "rooftop")

NOUNS: dict[str, tuple[str, ...]] = {
    "woman": ("woman", "young woman", "girl", "lady", "tall woman"),
    "man": ("man", "young man", "boy", "gentleman", "tall man"),
    "dog": ("dog", "small dog", "puppy", "fluffy dog"),
    "cat": ("cat", "kitten", "small cat", "curious cat"),
    "robot": ("robot", "small robot", "friendly robot"),
    "notebook": ("notebook", "book", "journal"),
    "umbrella": ("umbrella",),
    "balloon": ("balloon",),
    "suitcase": ("suitcase", "travel bag"),
    "lantern": ("lantern", "lamp"),
    "ball": ("ball",),
    "box": ("box", "gift box", "package"),
}
ROLES = (
    "chef", "librarian", "painter", "teacher", "gardener", "student", "baker", "musician", "detective", "doctor",
    "sailor", "writer", "photographer", "farmer", "waiter", "tourist", "artist", "scientist", "mechanic", "dancer",
)  # fmt: skip
GARMENTS = ("sweater", "shirt", "jacket", "coat", "hoodie", "t-shirt", "cardigan", "vest", "apron", "jumper")
HEADGEAR = ("hat", "cap", "beanie", "beret")
HAIR_NOUNS = ("hair", "hair", "hair", "curls", "curly hair", "straight hair")

COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "black": ("jet-black", "ebony", "raven-black", "pitch-black", "coal-black"),
    "brown": ("chestnut", "chocolate-brown", "dark brown", "light brown", "hazelnut-brown", "coffee-brown"),
    "blonde": ("blond", "golden", "honey-blonde", "light blonde", "straw-blonde"),
    "red": ("scarlet", "bright red", "dark red", "cherry-red", "vermilion", "maroon", "burgundy", "brick-red"),
    "white": ("snow-white", "pure white", "ivory", "off-white", "milk-white"),
    "blue": ("navy", "bright blue", "dark blue", "sky-blue", "royal blue", "azure", "light blue", "navy blue"),
    "orange": ("tangerine", "bright orange", "apricot", "pumpkin-orange", "burnt orange", "rust-orange"),
    "yellow": ("lemon-yellow", "mustard", "bright yellow", "golden-yellow", "sunny yellow", "canary-yellow", "saffron"),
    "green": ("emerald", "dark green", "bright green", "olive", "mint", "lime-green", "forest-green", "mossy green"),
    "purple": ("violet", "plum", "deep purple", "lilac", "mauve", "dark purple", "grape-purple"),
    "pink": ("rose-pink", "hot pink", "light pink", "salmon-pink", "bubblegum-pink", "rosy", "pale pink"),
}
"""Other words for a colour; half of the time it is called by its plain name."""
HAIR_WORDS: dict[str, tuple[str, ...]] = {
    **COLOUR_WORDS,
    "red": ("ginger", "copper", "copper-red", "fiery red", "auburn"),
    "white": ("silver", "silvery", "grey", "gray", "snow-white"),
    "blue": ("bright blue", "dark blue", "sky-blue", "electric blue"),
}
HELD_OUT_COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("crimson", "ruby"),
    "blue": ("sapphire", "cobalt"),
    "green": ("jade",),
    "purple": ("lavender",),
    "orange": ("amber",),
    "pink": ("fuchsia",),
}

PLACE_WORDS: dict[str, tuple[str, ...]] = {
    "library": ("library", "quiet library", "old library", "reading room"),
    "kitchen": ("kitchen", "bright kitchen", "tidy kitchen"),
    "beach": ("beach", "sunny beach", "sandy beach", "seashore"),
    "forest": ("forest", "pine forest", "quiet woods", "green forest"),
    "street": ("street", "city street", "busy street"),
    "park": ("park", "city park", "green park"),
    "desert": ("desert", "sandy desert", "wide desert"),
    "mountain": ("mountain", "snowy mountain", "mountain slope", "snowy mountains"),
    "cafe": ("cafe", "cozy cafe", "small cafe", "coffee shop"),
    "rooftop": ("rooftop", "rooftop at night", "city rooftop at night"),
}
PLACE_PREPOSITION: dict[str, str] = {
    "library": "in", "kitchen": "in", "beach": "on", "forest": "in", "street": "on", "park": "in", "desert": "in",
    "mountain": "on", "cafe": "in", "rooftop": "on",
}  # fmt: skip
PLACE_DETAILS: dict[str, tuple[str, ...]] = {
    "library": ("Tall shelves of books line the walls.", "It is calm and silent here.", "Books fill the shelves."),
    "kitchen": ("A window lets in the light.", "The counter is clean.", "Pots hang on the wall."),
    "beach": ("The sea is calm under a clear sky.", "Waves roll in softly.", "A palm tree sways in the breeze."),
    "forest": ("Tall trees stand all around.", "Light falls through the leaves.", "Birds sing in the trees."),
    "street": ("Houses stand in a row.", "The windows shine in the sun.", "Cars pass in the distance."),
    "park": ("The lawn is fresh and green.", "A bench stands under a tree.", "The sun is shining."),
    "desert": ("Dunes reach to the horizon.", "A cactus stands in the heat.", "The sun burns above the dunes."),
    "mountain": ("Snow covers the peaks.", "The air is cold and clear.", "White summits rise behind."),
    "cafe": ("Warm lamps hang from the ceiling.", "It smells of coffee.", "A small table stands by the window."),
    "rooftop": ("The city lights glow below.", "The moon shines above.", "Stars fill the dark sky."),
}

_NAMES = yaml.safe_load((Path(__file__).parent / "names.yaml").read_text(encoding="utf-8"))
FEMALE_NAMES: list[str] = _NAMES["woman"]
MALE_NAMES: list[str] = _NAMES["man"]
PET_NAMES: list[str] = _NAMES["pet"]
HELD_OUT_NAMES: dict[str, list[str]] = _NAMES["held_out"]

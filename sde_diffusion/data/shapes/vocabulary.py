"""What a scene may hold, and the words for it."""

from __future__ import annotations

SIDE, OBJECTS = 32, 3
SHAPES = ("circle", "square", "triangle", "diamond", "cross", "ring")
TEXTURES = ("plain", "striped", "dotted", "checked", "tinted")
SIZES = ("small", "large")
# RGB; the three lowest bits of red are zero, see ``layout``.
COLOURS = {
    "red": (224, 32, 32),
    "green": (32, 176, 56),
    "blue": (40, 72, 232),
    "yellow": (240, 224, 40),
    "orange": (248, 128, 16),
    "purple": (160, 48, 208),
    "cyan": (48, 208, 224),
    "white": (240, 240, 240),
}
COLOUR_NAMES = tuple(COLOURS)
# Pairs of shape and colour that the split ``train`` never shows.
HELD_OUT = (
    ("circle", "cyan"),
    ("square", "orange"),
    ("triangle", "purple"),
    ("diamond", "white"),
    ("cross", "green"),
    ("ring", "yellow"),
)
# What the pattern of an object multiplies its colour by.
DARK = 0.5
# Probabilities.
COUNTS = (0.3, 0.4, 0.3)
TEXTURE_LAW = (0.4, 0.15, 0.15, 0.15, 0.15)
LARGE = 0.5  # of scenes of one or two objects; one of three at most is large
# Least and largest radius, in pixels, of the circle around a small and a large object.
RADII = ((4.2, 4.8), (6.4, 7.2))
GAP = 1.5  # least distance of two of these circles, in pixels

RELATIONS = ("left", "right", "above", "below")
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "middle", "right")
THIRDS = (12.0, 19.0)  # centres before the first, between the two, after the second, in pixels

# Every way of saying it; the first is the plainest.
SAID = {
    "small": ("small", "little"),
    "large": ("large", "big"),
    "dotted": ("dotted", "spotted"),
    "checked": ("checked", "checkered"),
    "tinted": ("tinted", "shaded"),
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}
ANY = ("shape", "object")  # a noun that leaves the shape open
PATTERNED = "patterned"  # the object that wears the texture of the reference patch
OPENINGS = ("", "", "", "a picture of", "an image with")
_OTHERS = "a an the and with of on at in to picture image corner left right middle top bottom"


def words() -> tuple[str, ...]:
    """Every word of a caption, sorted."""
    phrases = [word for ways in SAID.values() for way in ways for word in way.split()]
    return tuple(
        sorted({*SHAPES, *TEXTURES, *SIZES, *COLOURS, *ANY, PATTERNED, *phrases, *_OTHERS.split()})
    )

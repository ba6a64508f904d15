"""Colour profiles as other programs write them, made of their published numbers."""

from __future__ import annotations

import struct

import numpy as np

# From linear numbers to XYZ under D50, a column for each of red, green and blue.
SRGB = np.array([[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169],
                 [0.0139322, 0.0971045, 0.7141733]])  # fmt: skip
ADOBE = np.array([[0.6097559, 0.2052401, 0.1492240], [0.3111242, 0.6256560, 0.0632197],
                  [0.0194811, 0.0608902, 0.7448387]])  # fmt: skip
P3 = np.array([[0.5151187, 0.2919778, 0.1571035], [0.2411892, 0.6922441, 0.0665668],
               [-0.0010505, 0.0418791, 0.7840713]])  # fmt: skip
WHITE = (0.9642, 1.0, 0.8249)


def _fixed(values: tuple[float, ...]) -> bytes:
    return b"".join(struct.pack(">i", round(65536 * value)) for value in values)


def icc(
    space: bytes, tags: dict[bytes, bytes], pcs: bytes = b"XYZ ", kind: bytes = b"mntr"
) -> bytes:
    """A profile of version 2 with these tags."""
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        padded = tag + bytes(-len(tag) % 4)
        table += name + struct.pack(">II", at + len(body), len(tag))
        body += padded
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"lcms", 0x02400000, kind, space, pcs)
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(WHITE)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def named(text: str) -> bytes:
    """The tag that says what a profile is called."""
    content = text.encode() + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(content)) + content + bytes(78)


def xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(values)


def curve(gamma: float) -> bytes:
    """x ** gamma; of 0 the curve of sRGB."""
    if gamma:
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(256 * gamma)) + b"\0\0"
    levels = np.linspace(0, 1, 1024)
    values = (linear(levels, 0) * 65535).round().astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", len(values)) + values.tobytes()


def linear(levels: np.ndarray, gamma: float) -> np.ndarray:
    """Levels 0 .. 1 -> light."""
    if gamma:
        return levels**gamma
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def of_colours(matrix: np.ndarray, gamma: float, name: str = "some") -> bytes:
    """The profile of numbers whose light goes to XYZ by a matrix."""
    columns = {tag: xyz(tuple(matrix[:, k])) for k, tag in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve(gamma))
    return icc(b"RGB ", {b"desc": named(name), b"wtpt": xyz(WHITE), **columns, **curves})


def of_greys(gamma: float) -> bytes:
    return icc(b"GRAY", {b"desc": named("grey"), b"wtpt": xyz(WHITE), b"kTRC": curve(gamma)})


def of_ink() -> bytes:
    """A profile of four inks: the light of an ink alone, or of several, falls with its amount."""
    corners = np.stack(np.meshgrid(*[(0.0, 1.0)] * 4, indexing="ij"), -1).reshape(-1, 4)
    lightness = 255 * np.prod(1 - corners * (0.3, 0.3, 0.1, 1.0), axis=1)
    lab = np.stack([lightness, np.full(16, 128), np.full(16, 128)], -1).round().astype(np.uint8)
    identity = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + _fixed((1, 0, 0, 0, 1, 0, 0, 0, 1))
    table += identity * 4 + lab.tobytes() + identity * 3
    return icc(b"CMYK", {b"desc": named("ink"), b"wtpt": xyz(WHITE), b"A2B0": table,
                         b"A2B1": table}, b"Lab ", b"prtr")  # fmt: skip


def in_srgb(levels: np.ndarray, matrix: np.ndarray, gamma: float) -> np.ndarray:
    """Levels 0 .. 255 [..., 3] as those of sRGB, by the definition of both."""
    light = linear(levels / 255, gamma) @ matrix.T @ np.linalg.inv(SRGB).T
    light = light.clip(0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)

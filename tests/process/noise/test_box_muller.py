"""Normals from bits: the exact formula within 5e-10, up to the ends, and alike in both engines."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sde_diffusion.process.noise.box_muller import box_muller
from sde_diffusion.process.noise.engines import DeviceEngine, Engine, HostEngine
from tests.process.noise import twin

ENGINES: dict[str, Engine] = {"numpy": HostEngine(), "torch": DeviceEngine(torch.device("cpu"))}


def normals(engine: Engine, words: np.ndarray) -> torch.Tensor:
    lanes = engine.lanes(5, words.shape)
    lanes[0].whole[...] = engine.array(words)
    cos, sin = box_muller(engine, *lanes)
    return torch.stack([torch.as_tensor(cos), torch.as_tensor(sin)], 1)


@pytest.fixture(scope="module")
def words() -> np.ndarray:
    """Random ones, and the ends: radii least and largest, all octaves of u, all corners."""
    g = np.random.default_rng(2)
    n = [0, 1, 2, 2**40 - 1, 2**40 - 2, 2**39, 2**39 - 1, *(2**k for k in range(40))]
    n += [round(2**k * 0.5**0.5) + d for k in range(4, 40) for d in (-1, 0)]
    a = [0, 1, -1, 2**23 - 1, -(2**23), 2**21, 2**22, -(2**22), 2**22 - 1]
    ends = [(angle << 40) | radius for angle in a for radius in n]
    return np.concatenate([g.integers(-(2**63), 2**63, 20000), np.array(ends, dtype=np.int64)])


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_the_exact_formula(engine: Engine, words: np.ndarray) -> None:
    """5e-10 in each number, and 1e-10 of the radius, small ones too."""
    z = normals(engine, words)
    exact = torch.tensor([twin.box_muller(int(w) % 2**64) for w in words], dtype=torch.float64)
    assert float((z - exact).abs().max()) < 5e-10
    ratio = z.norm(dim=1) / exact.norm(dim=1)
    assert float((ratio - 1).abs().max()) < 1e-9


def test_both_engines_agree(words: np.ndarray) -> None:
    """To the last bit but for square roots, which torch's library for CPUs may round otherwise."""
    host, device = (normals(engine, words) for engine in ENGINES.values())
    assert torch.allclose(host, device, rtol=4e-16, atol=0)


def test_the_largest_and_the_least_radius() -> None:
    largest, least = normals(ENGINES["numpy"], np.array([0, 2**40 - 1])).norm(dim=1).tolist()
    assert largest == pytest.approx((2 * 41 * np.log(2)) ** 0.5, rel=1e-9)
    assert least == pytest.approx(2.0**-20, rel=1e-9)

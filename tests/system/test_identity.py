"""What a component is, and that digests of revision 7a19cb7 are still the same."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from sde_diffusion.system.identity import digest, identity
from sde_diffusion.system.names import FIRST_PATHS, component


def first_digest(value: Any) -> str:
    """The digest as 7a19cb7 took it: of the content as it is, class paths and all."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]


@pytest.mark.parametrize(
    ("now", "first"),
    [
        ("sde_diffusion.process.sde.EDM", "sde_diffusion.sde.EDM"),
        ("sde_diffusion.training.weighting.EDMWeighting", "sde_diffusion.weighting.EDM"),
        ("sde_diffusion.solvers.adaptive.dopri.DoPri", "sde_diffusion.solvers.dopri.DoPri"),
        ("sde_diffusion.solvers.unipc.UniPC", "sde_diffusion.solvers.unipc.UniPC"),
    ],
)
def test_a_digest_outlives_a_move_and_a_rename(now: str, first: str) -> None:
    old = {"solver": {"_target_": first, "order": 3, "inner": [{"_target_": first}]}, "nfe": 4}
    new = {"solver": {"_target_": now, "order": 3, "inner": [{"_target_": now}]}, "nfe": 4}
    assert digest(old) == digest(new) == digest(identity(new)) == first_digest(old)
    assert digest(new) != digest({**new, "nfe": 5})


def test_others_go_by_name() -> None:
    ours = {"_target_": "sde_diffusion.solvers.midpoint.Midpoint"}
    theirs = {"_target_": "fancy.solvers.Midpoint"}
    assert identity(ours) == {"component": "Midpoint"}
    assert identity(theirs) == {"component": "fancy:Midpoint"}
    assert digest(ours) == digest({"_target_": "sde_diffusion.elsewhere.Midpoint"})
    assert len({digest(ours), digest(theirs), digest({"component": ["Midpoint"]})}) == 3


def test_no_two_first_paths_are_one_component() -> None:
    paths = FIRST_PATHS.split()
    assert len({component(f"sde_diffusion.{path}") for path in paths}) == len(paths)


CFG = {"_target_": "sde_diffusion.guidance.cfg.ClassifierFree", "scale": 2.0}
CLIP = {"_target_": "sde_diffusion.guidance.clip.Clip", "low": -1.0, "high": 1.0}


def test_the_order_of_guidance_is_part_of_what_it_is() -> None:
    one, two = {"guidance": {"cfg": CFG, "clip": CLIP}}, {"guidance": {"clip": CLIP, "cfg": CFG}}
    assert identity(one) != identity(two)
    assert digest(one) != digest(two)
    for given in (one, two):
        assert identity(identity(given)) == identity(given)
        again = json.loads(json.dumps(identity(given), sort_keys=True))
        assert identity(again) == identity(given)
        assert digest(again) == digest(given)


def test_the_scale_that_stood_beside_guidance_is_its_own() -> None:
    first = {"guidance": {"cfg": CFG, "scale": 2.0, "clip": CLIP}}
    assert identity(first) == identity({"guidance": {"cfg": CFG, "clip": CLIP}})
    assert digest({"guidance": {"cfg": CFG, "clip": CLIP}}) == first_digest(first)

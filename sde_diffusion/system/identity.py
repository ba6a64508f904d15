"""What a component is, by name and fields, wherever its class stands.

Cells, parts, runs and output folders are recognised by content. A class path in that content would
make a stranger of every unfinished run as soon as a module moves: the name of the class stands for
it, with its package where that is another one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

OURS = "sde_diffusion"
TARGET = "_target_"
COMPONENT = "component"
# Class paths that earlier revisions wrote into files, of classes that have another name now.
RENAMED = {
    "sde_diffusion.weighting.EDM": "EDMWeighting",
    "sde_diffusion.weighting.Likelihood": "LikelihoodWeighting",
    "sde_diffusion.weighting.MinSNR": "MinSNRWeighting",
    "sde_diffusion.weighting.Published": "PublishedWeighting",
    "sde_diffusion.weighting.Uncertainty": "UncertaintyWeighting",
}
# Where the components of revision 7a19cb7 stood in the package. Its digests were of these paths,
# and name folders, parts and cells that are still to be found.
FIRST_PATHS = """
augment.Dequantise augment.Flip augment.Geometric data.cifar10 data.digits data.fashion_mnist
data.huggingface data.image_folder data.image_npz data.mnist data.toy data.vectors ema.FixedEMA
ema.PowerEMA ema.WarmupEMA grid.Explicit grid.Karras grid.LogSNR grid.Uniform grid.VPTime
grid_search.Searched guidance.cfg.ClassifierFree guidance.clip.Clip levels.FromSDE
levels.Importance levels.LogNormal levels.LogUniform metrics.energy.Energy
metrics.extractors.cnn.CnnExtractor metrics.extractors.inception.InceptionExtractor
metrics.extractors.pca.PcaExtractor metrics.extractors.pixel.PixelExtractor
metrics.extractors.random_conv.RandomConvExtractor
metrics.extractors.torchscript.TorchScriptExtractor metrics.kid.KID metrics.prdc.PRDC
metrics.sliced_w2.SlicedW2 noise.Brownian noise.Seeds sde.CosineVP sde.EDM sde.RectifiedFlow
sde.SubVP sde.VE sde.VP solvers.adaptive_sde.AdaptiveSDE solvers.ancestral.Ancestral
solvers.calibrated.Calibrated solvers.calibrated.CalibratedGrid solvers.ddim.DDIM
solvers.deis.DEIS solvers.dopri.DoPri solvers.dpm2.DPM2 solvers.dpmpp_2m.DPMpp2M
solvers.dpmpp_2m_sde.DPMpp2MSDE solvers.dpmpp_2s.DPMpp2S solvers.dpmpp_3m.DPMpp3M
solvers.dpmpp_3m_sde.DPMpp3MSDE solvers.er_sde.ERSDE solvers.euler_maruyama.EulerMaruyama
solvers.heun.Heun solvers.ipndm.IPNDM solvers.langevin.Langevin solvers.lms.LMS
solvers.predictor_corrector.PredictorCorrector solvers.renoise.Renoise solvers.restart.Restart
solvers.reverse_diffusion.ReverseDiffusion solvers.sa_solver.SASolver solvers.scipy.SciPy
solvers.seeds.SEEDS solvers.torchsde.TorchSDE solvers.torchsde_adaptive.TorchSDEAdaptive
solvers.unipc.UniPC training.schedule.Constant training.schedule.Cosine
training.schedule.InverseSqrt training.schedule.Linear weighting.EDM weighting.Likelihood
weighting.MinSNR weighting.Published weighting.Uncertainty
"""


def component(path: str) -> str:
    """The name of the component at a class path: ``UniPC``, or ``fancy:Midpoint`` of another
    package."""
    if path in RENAMED:
        return RENAMED[path]
    package, name = path.split(".")[0], path.rpartition(".")[2]
    return name if package == OURS else f"{package}:{name}"


def identity(value: Any) -> Any:
    """``value``, plain containers, with the component's name in the place of each class path."""
    if isinstance(value, Mapping):
        renamed = {COMPONENT: component(str(value[TARGET]))} if TARGET in value else {}
        return renamed | {k: identity(v) for k, v in value.items() if k != TARGET}
    if isinstance(value, list | tuple):
        return [identity(entry) for entry in value]
    return value


def digest(value: Any) -> str:
    """First 10 hex digits of the SHA-256 of the identity of plain containers."""
    text = json.dumps(_hashed(identity(value)), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _hashed(value: Any) -> Any:
    """An identity as 7a19cb7 hashed it: its components by the paths that they had."""
    if isinstance(value, Mapping):
        path = _first_paths().get(str(value.get(COMPONENT)))
        known = {} if path is None else {TARGET: path}
        return known | {k: _hashed(v) for k, v in value.items() if not (known and k == COMPONENT)}
    return [_hashed(entry) for entry in value] if isinstance(value, list) else value


@cache
def _first_paths() -> dict[str, str]:
    return {component(path): path for path in (f"{OURS}.{entry}" for entry in FIRST_PATHS.split())}

"""Names of components: of this revision, and the class paths that earlier ones wrote into files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from sde_diffusion.errors import InputError

OURS = "sde_diffusion"
# Class paths of classes that have another name now.
RENAMED = {
    "sde_diffusion.data.cifar10": "CIFAR10",
    "sde_diffusion.data.digits": "Digits",
    "sde_diffusion.data.fashion_mnist": "FashionMNIST",
    "sde_diffusion.data.huggingface": "HuggingFace",
    "sde_diffusion.data.image_folder": "ImageFolder",
    "sde_diffusion.data.image_npz": "ImageNpz",
    "sde_diffusion.data.mnist": "MNIST",
    "sde_diffusion.data.toy": "Toy",
    "sde_diffusion.data.vectors": "Vectors",
    "sde_diffusion.weighting.EDM": "EDMWeighting",
    "sde_diffusion.weighting.Likelihood": "LikelihoodWeighting",
    "sde_diffusion.weighting.MinSNR": "MinSNRWeighting",
    "sde_diffusion.weighting.Published": "PublishedWeighting",
    "sde_diffusion.weighting.Uncertainty": "UncertaintyWeighting",
}
# Of shipped models, by fingerprint: what each was called when files about it were written, and now.
# The files stay as they are, since others refer to them by content.
MODELS = {
    "72657dc51117ec90": ("mnist-small", "mnist"),
    "4ac562cbe6534b19": ("mnist", "mnist-large"),
}
NAMING = ("checkpoint", "init", "model")  # entries of a record that name a model
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


def of_today(record: Any, fingerprint: str) -> Any:
    """A record about the model of that fingerprint, with the name that the model has now: what it
    says can be typed."""
    if fingerprint not in MODELS or not isinstance(record, Mapping):
        return record
    old, new = MODELS[fingerprint]
    renamed = {key: of_today(value, fingerprint) for key, value in record.items()}
    renamed |= {key: new for key in NAMING if renamed.get(key) == old}
    if isinstance(command := renamed.get("command"), str):
        renamed["command"] = re.sub(rf"\bcheckpoint={old}(?![\w.-])", f"checkpoint={new}", command)
    return renamed


def check_file_name(name: str, key: str) -> None:
    """InputError, naming ``key``, for what could name a file in another folder."""
    if not re.fullmatch(r"[\w.-]+", name):
        raise InputError(f"{key}={name}: use letters, digits, dots and hyphens")


def component(path: str) -> str:
    """The name of the component at a class path: ``UniPC``, or ``fancy:Midpoint`` of another
    package."""
    if path in RENAMED:
        return RENAMED[path]
    package, name = path.split(".")[0], path.rpartition(".")[2]
    return name if package == OURS else f"{package}:{name}"


def name_of(cls: type) -> str:
    """The name of a component's class."""
    return component(f"{cls.__module__}.{cls.__qualname__}")


@cache
def first_paths() -> dict[str, str]:
    """The class paths of 7a19cb7 by the names of their components."""
    return {component(path): path for path in (f"{OURS}.{entry}" for entry in FIRST_PATHS.split())}

"""Score-based SDE framework for image synthesis with pluggable solvers.

``load("mnist").sample(n=16, solver=UniPC(order=3), nfe=10, seed=0, label=7)`` draws sixteen sevens;
``wrap(model, shape=(3, 32, 32))`` does the same for a callable of your own;
``exact_error("unipc", nfe=10, covariance=S)`` says what a solver will do to your data before any
network is run. Importing this package imports no torch: the names below are loaded when first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sde_diffusion.exact import Gaussian as Gaussian
    from sde_diffusion.face.analyse import analyse as analyse
    from sde_diffusion.face.compare import compare as compare
    from sde_diffusion.face.evaluate import evaluate as evaluate
    from sde_diffusion.face.exact import exact_error as exact_error
    from sde_diffusion.face.inspect import inspect as inspect
    from sde_diffusion.face.load import load as load
    from sde_diffusion.face.load import wrap as wrap
    from sde_diffusion.face.model import Model as Model
    from sde_diffusion.face.results import Results as Results
    from sde_diffusion.sampling.sampler import Sampler as Sampler
    from sde_diffusion.sampling.samples import Samples as Samples

# The names by the module that they are loaded from: what a user calls, then every component.
_MODULES = {
    "face.load": "load wrap",
    "face.model": "Model",
    "face.compare": "compare",
    "face.results": "Results",
    "face.analyse": "Analysis analyse",
    "face.evaluate": "Evaluation evaluate",
    "face.exact": "exact_error",
    "face.inspect": "Inspection inspect",
    "face.likelihood": "BitsPerDim",
    "errors": "InputError",
    "exact": "Gaussian",
    "conditions.condition": "Condition Part",
    "conditions.conditioner": "Conditioner",
    "denoisers.space": "Kind Space",
    "sampling.sampler": "Request Sampler Watch",
    "sampling.edit": "Edited",
    "sampling.execute": "Execution",
    "sampling.samples": "Samples",
    "sampling.start": "FromImage FromNoise Prior Start",
    "data.cifar10": "CIFAR10",
    "data.digits": "Digits",
    "data.fashion_mnist": "FashionMNIST",
    "data.folder": "ImageFolder",
    "data.huggingface": "HuggingFace",
    "data.mnist": "MNIST",
    "data.npz": "ImageNpz",
    "data.patches": "Patches",
    "data.scans": "Scans",
    "data.shapes.source": "Shapes",
    "data.toy": "Toy",
    "data.vectors": "Vectors",
    "denoisers.consistency": "ConsistencyFunction DiscreteConsistency TrajectoryConsistency",
    "denoisers.convention": "Convention DiscreteTime StraightPath",
    "denoisers.parameterization": "DataPrediction EpsilonPrediction FlowPrediction "
    "KarrasPreconditioning ScorePrediction VPrediction",
    "guidance": "Auto ClassifierFree ClassifierGradient Clip DPS Interval MMPS PiGDM Projected "
    "Rescaled TMPD Threshold",
    "hosts.k_sampler": "KSampler",
    "hosts.scheduler": "SolverScheduler",
    "metrics.clip_score": "ClipScore",
    "metrics.energy": "Energy",
    "metrics.extractors.cnn": "CnnExtractor",
    "metrics.extractors.inception": "InceptionExtractor",
    "metrics.extractors.pca": "PcaExtractor",
    "metrics.extractors.pixel": "PixelExtractor",
    "metrics.extractors.random_conv": "RandomConvExtractor",
    "metrics.extractors.torchscript": "TorchScriptExtractor",
    "metrics.kid": "KID",
    "metrics.prdc": "PRDC",
    "metrics.sliced_w2": "SlicedW2",
    "operators": "Box Cartesian Composed Downsample FanBeam Function GaussianBlur Grey Mask Matrix "
    "MotionBlur ParallelBeam PhaseRetrieval Quantise Radial Random with_measurement",
    "networks": "ADM EDM2 MLP DiT NCSNpp PublishedDiT SongUNet UNet",
    "process.ays": "AYS",
    "process.few_steps": "FewSteps Skipped",
    "process.grids": "Explicit Karras LogSNR Uniform VPTime",
    "process.noise": "Brownian Seeds",
    "process.sde": "CosineVP EDM RectifiedFlow SubVP VE VP",
    "process.searched": "Searched",
    "process.spread": "Beta Exponential KLOptimal KarrasToZero",
    "process.timesteps": "ByTimestep FlowShift",
    "solvers.adaptive.adaptive_sde": "AdaptiveSDE",
    "solvers.adaptive.dopri": "DoPri",
    "solvers.adaptive.scipy": "SciPy",
    "solvers.adaptive.torchsde_adaptive": "TorchSDEAdaptive",
    "solvers.ancestral": "Ancestral",
    "solvers.calibrated.solver": "Calibrated",
    "solvers.ddim": "DDIM",
    "solvers.distilled.consistency": "Consistency",
    "solvers.distilled.tcd": "TCD",
    "solvers.deis": "DEIS",
    "solvers.dpm2": "DPM2",
    "solvers.dpmpp_2m": "DPMpp2M",
    "solvers.dpmpp_2m_sde": "DPMpp2MSDE",
    "solvers.dpmpp_2s": "DPMpp2S",
    "solvers.dpmpp_3m": "DPMpp3M",
    "solvers.dpmpp_3m_sde": "DPMpp3MSDE",
    "solvers.er_sde": "ERSDE",
    "solvers.euler_maruyama": "EulerMaruyama",
    "solvers.guided.apg": "APGMomentum",
    "solvers.guided.cfg_zero": "CFGZero",
    "solvers.guided.cfgpp": "CFGpp",
    "solvers.heun": "Heun",
    "solvers.ipndm": "IPNDM",
    "solvers.langevin": "Langevin",
    "solvers.lms": "LMS",
    "solvers.posterior.daps": "DAPS",
    "solvers.posterior.ddnm": "DDNM",
    "solvers.posterior.ddrm": "DDRM",
    "solvers.posterior.diffpir": "DiffPIR",
    "solvers.posterior.particles": "Particles",
    "solvers.posterior.repaint": "RePaint",
    "solvers.reverse_diffusion": "ReverseDiffusion",
    "solvers.sa_solver": "SASolver",
    "solvers.seeds_method": "SEEDS",
    "solvers.torchsde": "TorchSDE",
    "solvers.unipc": "UniPC",
    "solvers.wrappers.predictor_corrector": "PredictorCorrector",
    "solvers.wrappers.renoise": "Renoise",
    "solvers.wrappers.restart": "Restart",
    "system.tracking": "CsvTracker NoTracker",
    "system.wandb_tracker": "WandbTracker",
    "training.augment": "Dequantise Flip Geometric",
    "training.ema": "FixedEMA PowerEMA WarmupEMA",
    "training.levels": "FromSDE Importance LogNormal LogUniform",
    "training.schedule": "Constant Cosine InverseSqrt Linear",
    "training.weighting": "EDMWeighting LikelihoodWeighting MinSNRWeighting PublishedWeighting "
    "UncertaintyWeighting",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}
__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("sde_diffusion")
    if name not in _HOME:
        line = f"module 'sde_diffusion' has no attribute {name!r}"
        # With name and object Python adds "Did you mean ...?" to the traceback.
        raise AttributeError(line, name=name, obj=sys.modules[__name__])
    return getattr(import_module(f"sde_diffusion.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]

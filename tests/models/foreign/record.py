"""Record what the authors' own code answers on tiny networks: ``python record.py FOLDER [FAMILY]``.

FOLDER has copies of NVlabs/edm, NVlabs/edm2, openai/guided-diffusion, yang-song/score_sde_pytorch,
facebookresearch/DiT and willisma/SiT under the names OWNER+REPOSITORY. Of them only names, shapes,
arguments and outputs are kept, in safetensors beside this file; their weights are drawn by name.
"""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from drawn import QUIET, Replay, weights  # noqa: E402

N, SIDE = 8, 8
KEPT = ("resample_filter", "pos_embed")


def fill(net: nn.Module) -> tuple[dict[str, list[int]], dict[str, Tensor]]:
    """Draw the weights of ``net`` by name; its shapes, and the tensors that are no weights."""
    state = net.state_dict()
    shapes = {name: list(t.shape) for name, t in state.items()}
    kept = {n: t.clone() for n, t in state.items() if n.endswith(KEPT) or n == "u"}
    net.load_state_dict(weights(shapes, kept))
    net.eval()
    return shapes, kept


def image(channels: int = 3) -> Tensor:
    return Replay(1)((N, channels, SIDE, SIDE))


def save(name: str, facts: dict[str, Any], kept: dict[str, Tensor], **tensors: Tensor) -> None:
    content = {f"kept.{k}": v.contiguous() for k, v in kept.items()}
    content |= {k: v.detach().contiguous() for k, v in tensors.items()}
    save_file(content, HERE / f"{name}.safetensors", {"facts": json.dumps(facts)})


@torch.no_grad()
def edm() -> None:
    from generate import edm_sampler  # type: ignore[import-not-found]
    from training import networks  # type: ignore[import-not-found]

    song = {
        "model_type": "SongUNet", "model_channels": 16, "channel_mult": [1, 2],
        "channel_mult_emb": 2, "num_blocks": 1, "attn_resolutions": [4], "augment_dim": 9,
    }  # fmt: skip
    ncsnpp = {
        **song, "embedding_type": "fourier", "channel_mult_noise": 2, "encoder_type": "residual",
        "resample_filter": [1, 3, 3, 1],
    }  # fmt: skip
    skip = {**ncsnpp, "encoder_type": "skip", "decoder_type": "skip", "augment_dim": 0}
    adm = {
        "model_type": "DhariwalUNet", "model_channels": 32, "channel_mult": [1, 2],
        "channel_mult_emb": 1, "num_blocks": 1, "attn_resolutions": [4],
    }  # fmt: skip
    for name, kind, kwargs in (
        ("edm_ddpmpp", "EDMPrecond", song),
        ("edm_ncsnpp", "EDMPrecond", ncsnpp),
        ("edm_skip", "VEPrecond", skip),
        ("edm_adm", "EDMPrecond", adm),
        ("edm_vp", "VPPrecond", song),
        ("edm_iddpm", "iDDPMPrecond", adm),
    ):
        kwargs = {"img_resolution": SIDE, "img_channels": 3, "label_dim": 5, **kwargs}
        net = getattr(networks, kind)(**kwargs)
        shapes, kept = fill(net)
        low, high = max(0.002, float(net.sigma_min)), min(80.0, float(net.sigma_max))
        sigma = torch.logspace(np.log10(low * 1.01), np.log10(high * 0.99), N)
        x, labels = image() * (1 + sigma[:, None, None, None] ** 2).sqrt(), torch.arange(N) % 5
        hot = torch.eye(5)[labels]
        extra = {}
        if name == "edm_ddpmpp":
            latents = Replay(2)((2, 3, SIDE, SIDE))
            extra["heun"] = edm_sampler(net, latents, hot[:2], num_steps=6).float()
            noise = Replay(3)
            extra["churn"] = edm_sampler(
                net, latents, hot[:2], num_steps=18, S_churn=4, S_min=0.05, S_max=50,
                S_noise=1.003,
                randn_like=lambda x, noise=noise: noise(x.shape).to(x),
            ).float()  # fmt: skip
        facts = {"class": kind, "kwargs": kwargs, "shapes": shapes}
        save(
            name, facts, kept, sigma=sigma, none=net(x, sigma), labelled=net(x, sigma, hot), **extra
        )


@torch.no_grad()
def edm2() -> None:
    from training import networks_edm2  # type: ignore[import-not-found]

    kwargs = {
        "img_resolution": SIDE, "img_channels": 4, "label_dim": 5, "model_channels": 64,
        "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4], "logvar_channels": 8,
    }  # fmt: skip
    net = networks_edm2.Precond(**kwargs)
    shapes, kept = fill(net)
    sigma = torch.logspace(-2.6, 1.9, N)
    x = image(4) * (1 + sigma[:, None, None, None] ** 2).sqrt()
    hot = torch.eye(5)[torch.arange(N) % 5]
    facts = {"class": "Precond", "kwargs": kwargs, "shapes": shapes}
    save("edm2", facts, kept, sigma=sigma, none=net(x, sigma), labelled=net(x, sigma, hot))


@torch.no_grad()
def adm() -> None:
    from guided_diffusion import script_util  # type: ignore[import-not-found]

    for name, change in (
        ("adm_legacy", {"class_cond": True, "num_head_channels": 16}),
        ("adm_new", {"use_new_attention_order": True, "num_heads": 2, "learn_sigma": False}),
        ("adm_plain", {"resblock_updown": False, "use_scale_shift_norm": False, "num_heads": 1}),
    ):
        kwargs = {
            **script_util.model_and_diffusion_defaults(), "image_size": 64, "num_channels": 32,
            "channel_mult": "1,2", "num_res_blocks": 1, "attention_resolutions": "32",
            "learn_sigma": True, "resblock_updown": True, "noise_schedule": "linear",
            "timestep_respacing": "ddim5", **change,
        }  # fmt: skip
        script_util.NUM_CLASSES = 5
        net, diffusion = script_util.create_model_and_diffusion(**kwargs)
        shapes, kept = fill(net)
        t = torch.tensor([0.0, 1.0, 10.0, 100.0, 333.5, 600.0, 900.0, 999.0])
        extra = {"y": torch.arange(N) % 5} if kwargs["class_cond"] else {}
        out = net(image(), t, **extra)[:, :3]
        latents = Replay(2)((2, 3, SIDE, SIDE))
        given = {k: v[:2] for k, v in extra.items()}
        drawn = diffusion.ddim_sample_loop(
            net, latents.shape, noise=latents, clip_denoised=False, model_kwargs=given, device="cpu"
        )
        save(name, {"kwargs": kwargs, "shapes": shapes}, kept, t=t, out=out, ddim=drawn)


def _samples(sampling: Any, sde: Any, net: nn.Module, ve: bool) -> dict[str, Tensor]:
    """Of the predictor-corrector of the family's configuration, and of the probability flow."""
    shape = (2, 3, SIDE, SIDE)
    start, draws = Replay(2)(shape) * (50 if ve else 1), Replay(3)
    sde.prior_sampling = lambda _: start
    torch.randn_like = lambda x: draws(x.shape)
    predictor = sampling.ReverseDiffusionPredictor if ve else sampling.EulerMaruyamaPredictor
    corrector = sampling.LangevinCorrector if ve else sampling.NoneCorrector
    pc = sampling.get_pc_sampler(
        sde, shape, predictor, corrector, lambda x: x, snr=0.16, continuous=True,
        eps=1e-5 if ve else 1e-3, device="cpu",
    )  # fmt: skip
    drawn, _ = pc(net)
    ode = sampling.get_ode_sampler(
        sde, shape, lambda x: x, rtol=1e-6, atol=1e-6, eps=1e-5 if ve else 1e-3, device="cpu"
    )  # fmt: skip
    return {"pc": drawn, "ode": ode(net, start)[0]}


@torch.no_grad()
def score_sde() -> None:
    from torch.utils import cpp_extension

    cpp_extension.load = lambda *args, **kwargs: None  # on the CPU its filters are plain torch
    collections = types.ModuleType("ml_collections")
    vars(collections)["ConfigDict"] = types.SimpleNamespace
    sys.modules["ml_collections"] = collections
    import sampling  # type: ignore[import-not-found]
    import sde_lib  # type: ignore[import-not-found]
    from configs.default_cifar10_configs import get_default_configs
    from models import ncsnpp  # type: ignore[import-not-found]
    from models import utils as mutils

    for name, family in (("score_vp", "vp"), ("score_subvp", "subvp"), ("score_ve", "ve")):
        config = get_default_configs()
        ve = family == "ve"
        config.data.centered, config.data.image_size = not ve, SIDE
        m = config.model
        m.name, m.nf, m.ch_mult, m.num_res_blocks, m.attn_resolutions = (
            "ncsnpp",
            16,
            (1, 2),
            1,
            (4,),
        )
        m.scale_by_sigma, m.fir, m.fir_kernel, m.skip_rescale = ve, ve, [1, 3, 3, 1], True
        m.normalization, m.nonlinearity, m.resamp_with_conv, m.conditional = (
            "GroupNorm",
            "swish",
            True,
            True,
        )
        m.resblock_type, m.progressive, m.progressive_combine = "biggan", "none", "sum"
        m.progressive_input = "residual" if ve else "none"
        m.attention_type, m.init_scale, m.fourier_scale, m.conv_size = "ddpm", 0.0, 16, 3
        m.embedding_type = "fourier" if ve else "positional"
        net = ncsnpp.NCSNpp(config)
        shapes, kept = fill(net)
        last = f"all_modules.{len(net.all_modules) - 1}."
        for parameter in net.all_modules[-1].parameters():  # a flow that 100 calls can follow
            parameter.mul_(QUIET)
        sde = {
            "vp": lambda: sde_lib.VPSDE(0.1, 20.0, 12),
            "subvp": lambda: sde_lib.subVPSDE(0.1, 20.0, 12),
            "ve": lambda: sde_lib.VESDE(0.01, 50, 12),
        }[family]()
        t = torch.linspace(1e-3, 1.0, N)
        x = image()
        if ve:
            x = (
                0.5
                + 0.5 * x * (1 + 4 * sde.marginal_prob(x, t)[1][:, None, None, None] ** 2).sqrt()
            )
        score = mutils.get_score_fn(sde, net, continuous=True)(x, t)
        samples = _samples(sampling, sde, net, ve)
        trained = [n for n, p in net.named_parameters() if p.requires_grad]
        facts = {"family": family, "shapes": shapes, "trained": trained, "quiet": last}
        save(name, facts, kept, t=t, score=score, **samples)


class _Patches(nn.Module):
    def __init__(self, size: int, patch: int, channels: int, width: int, bias: bool = True) -> None:
        super().__init__()
        self.patch_size, self.num_patches = (patch, patch), (size // patch) ** 2
        self.proj = nn.Conv2d(channels, width, patch, patch, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class _Attention(nn.Module):
    def __init__(self, dim: int, num_heads: int, qkv_bias: bool) -> None:
        super().__init__()
        self.heads = num_heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim, bias=qkv_bias), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        n, length, d = x.shape
        qkv = self.qkv(x).reshape(n, length, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        weight = (q @ k.transpose(-2, -1) * (d // self.heads) ** -0.5).softmax(-1)
        return self.proj((weight @ v).transpose(1, 2).reshape(n, length, d))


class _Mlp(nn.Module):
    def __init__(
        self, in_features: int, hidden_features: int, act_layer: Callable[[], nn.Module], drop: int
    ) -> None:
        super().__init__()
        self.fc1, self.fc2 = (
            nn.Linear(in_features, hidden_features),
            nn.Linear(hidden_features, in_features),
        )
        self.act = act_layer()

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


@torch.no_grad()
def dit(sit: bool = False) -> None:
    timm = types.ModuleType("timm.models.vision_transformer")
    vars(timm).update(PatchEmbed=_Patches, Attention=_Attention, Mlp=_Mlp)
    sys.modules |= {"timm": timm, "timm.models": timm, "timm.models.vision_transformer": timm}
    import models  # type: ignore[import-not-found]

    kwargs = {
        "input_size": SIDE, "patch_size": 2, "in_channels": 4, "hidden_size": 64, "depth": 2,
        "num_heads": 16, "num_classes": 5, "learn_sigma": True,
    }  # fmt: skip
    net = (models.SiT if sit else models.DiT)(**kwargs)
    shapes, kept = fill(net)
    t = torch.linspace(0, 1, N) if sit else torch.tensor([0.0, 1, 10, 100, 333.5, 600, 900, 999])
    y = torch.arange(N) % 5
    out = net(image(4), t, y)[:, :4]
    none = net(image(4), t, torch.full((N,), 5))[:, :4]
    save(
        "sit" if sit else "dit",
        {"kwargs": kwargs, "shapes": shapes},
        kept,
        t=t,
        labelled=out,
        none=none,
    )


FAMILIES = {
    "edm": ("NVlabs+edm", edm),
    "edm2": ("NVlabs+edm2", edm2),
    "adm": ("openai+guided-diffusion", adm),
    "score_sde": ("yang-song+score_sde_pytorch", score_sde),
    "dit": ("facebookresearch+DiT", dit),
    "sit": ("willisma+SiT", lambda: dit(sit=True)),
}

if __name__ == "__main__":
    folder = Path(sys.argv[1]).resolve()
    if len(sys.argv) == 2:  # a process a family: their modules have the same names
        for family in FAMILIES:
            subprocess.run([sys.executable, __file__, str(folder), family], check=True)
    else:
        repository, record = FAMILIES[sys.argv[2]]
        sys.path.insert(0, str(folder / repository))
        record()

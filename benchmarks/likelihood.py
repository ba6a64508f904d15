"""Is the log-likelihood right, at what cost, and does it know its own error?

Closed-form mixtures on all SDEs; then a few MNIST test images under the shipped model, found as
``data=mnist`` finds them (MNIST_ROOT).
"""

from __future__ import annotations

import json
import math
import shlex

import page
import render
import torch
from adaptive_problems import PROBLEMS, SDES, TUNED
from torch import Tensor
from tqdm import tqdm

from sde_diffusion.config.compose import compose_task
from sde_diffusion.denoisers.closed_form import GaussianDenoiser, MixtureDenoiser
from sde_diffusion.process.sde import EDM, SDE
from sde_diffusion.sampling.likelihood import Likelihood, LogDensity, isotropic, moment_matched
from sde_diffusion.tasks import likelihood

F64 = torch.float64
LOW, HIGH = 0.002, 80.0
SMALL, DIGITS = TUNED, "mixture of digits"
NAMES = {SMALL: "two components, d = 4", DIGITS: "ten classes of digits, d = 64"}
MNIST = ["checkpoint=mnist-large", "n=8", "probes=4", "error=0.05"]


def mixture(name: str) -> MixtureDenoiser:
    target = PROBLEMS[name]
    assert isinstance(target, MixtureDenoiser)
    return target


def moments(target: MixtureDenoiser) -> GaussianDenoiser:
    """The reference with the mean and covariance of a mixture, in closed form."""
    mean = target.weights @ target.means
    apart = target.means - mean
    within = torch.diag_embed(target.variances)
    if target.bases is not None:
        within = target.bases @ within @ target.bases.mT
    second = within + apart[:, :, None] * apart[:, None]
    return moment_matched(mean, (target.weights[:, None, None] * second).sum(0))


def drawn(target: MixtureDenoiser, n: int) -> Tensor:
    """Exact draws at the least noise level."""
    generator = torch.Generator().manual_seed(1)
    x = target.sample(n, generator)
    return x + LOW * torch.randn(x.shape, generator=generator, dtype=F64)


def bits(nats: Tensor, d: int) -> Tensor:
    return nats / d / math.log(2)


def run(
    name: str, x: Tensor, error: float, probes: int | None = None, sde: SDE | None = None,
    prior: GaussianDenoiser | None = None,
) -> tuple[Tensor, LogDensity]:  # fmt: skip
    """log p found less log p at sigma_min, in bits a dimension [N]; and all that was found."""
    target = mixture(name)
    matched = moments(target) if prior is None else prior
    found = Likelihood.build(sde or EDM(), target, matched, LOW, HIGH, error, probes)(x)
    exact = target.log_prob(x, torch.tensor(LOW, dtype=F64))
    return bits(found.log_p - exact, x.shape[1]), found


def on_all(n: int = 1000) -> list[list[str]]:
    """Largest error at a request of 2e-4 on each SDE, exact trace."""
    rows = []
    x = drawn(mixture(SMALL), n)
    for label, sde in tqdm(SDES.items(), desc="sdes"):
        off, found = run(SMALL, x, 2e-4, sde=sde)
        size = off.abs()
        cells = [f"{float(v):.1e}" for v in (size.median(), size.quantile(0.95), size.max())]
        rows.append([label, *cells, f"{found.evaluations:.0f}", f"{found.products:.0f}"])
    return rows


def against_request(n: int = 500) -> list[list[str]]:
    """Error over the request: 95 % quantile (most), and evaluations."""
    rows = []
    for name, count in ((SMALL, n), (DIGITS, 16)):
        x = drawn(mixture(name), count)
        row = [NAMES[name]]
        for error in tqdm((1e-1, 1e-2, 1e-3, 1e-4, 1e-5), desc=name):
            off, found = run(name, x, error)
            ratio = off.abs() / error
            row.append(f"{ratio.quantile(0.95):.2f} ({ratio.max():.1f}): {found.evaluations:.0f}")
        rows.append(row)
    return rows


def of_priors(n: int = 200) -> list[list[str]]:
    """Largest error with either reference, at the tightest request."""
    x = drawn(mixture(SMALL), n)
    rows = []
    for label, prior in (("moment-matched", None), ("isotropic", isotropic(4))):
        off, found = run(SMALL, x, 1e-5, prior=prior)
        rows.append([label, f"{off.abs().max():.1e}", f"{found.evaluations:.0f}"])
    return rows


def hutchinson(n: int = 400) -> list[list[str]]:
    """Spread of the estimate about the truth, beside the standard error it states."""
    rows = []
    for name, count in ((SMALL, n), (DIGITS, n // 4)):
        x = drawn(mixture(name), count)
        d = x.shape[1]
        for probes in tqdm((1, 4, 16), desc=name):
            off, found = run(name, x, 1e-3, probes)
            own = bits(found.standard_error, d)
            plain, _ = run(name, x[: n // 8], 1e-3, probes, prior=isotropic(d))
            seen, said = off.square().mean().sqrt(), own.square().mean().sqrt()
            rows.append([
                NAMES[name], str(probes), f"{seen:.4f}",
                *([f"{said:.4f}", f"{seen / said:.2f}"] if probes > 1 else ["-", "-"]),
                f"{off.mean():+.4f} ± {off.std() / len(off) ** 0.5:.4f}",
                f"{plain.square().mean().sqrt():.4f}",
            ])  # fmt: skip
    return rows


def of_mnist() -> tuple[list[list[str]], dict[str, str]]:
    """The task on a few test images, with either reference."""
    rows = []
    for prior in ("moment_matched", "isotropic"):
        folder = page.HERE.parent / "outputs" / f"benchmark-likelihood-{prior}"
        likelihood.run(compose_task(["task=likelihood", *MNIST, f"prior={prior}"]), folder)
        found = json.loads((folder / "result.json").read_text())
        rows.append([
            prior.replace("_", " "), f"{found['bits_per_dim']:.4f}",
            f"{found['standard_error']:.4f}", f"{found['hutchinson_standard_error']:.4f}",
            f"{found['hutchinson_standard_error_an_image']:.4f}",
            f"{found['evaluations']:.0f}", f"{found['products']:.0f}",
        ])  # fmt: skip
    return rows, found


@torch.no_grad()
def main() -> None:
    """Write likelihood.md."""
    sections = (on_all, against_request, of_priors, hutchinson, of_mnist)
    folder = page.HERE.parent / "outputs" / "benchmark-likelihood"
    done = [page.once(folder, section.__name__, section) for section in sections]
    sdes, request, priors, probes, (mnist, model) = done
    values = {
        "sdes": render.table(
            ["SDE", "median", "95 %", "largest error", "evaluations", "products"], sdes
        ),
        "request": render.table(["mixture", "0.1", "0.01", "0.001", "0.0001", "1e-05"], request),
        "priors": render.table(["prior", "largest error", "evaluations"], priors),
        "probes": render.table(
            ["mixture", "probes", "seen", "stated", "seen / stated", "mean", "isotropic: seen"],
            probes,
        ),
        "job": shlex.join(["sde-diffusion", "likelihood", *MNIST]),
        "mnist": render.table(
            ["prior", "bits/dim", "standard error", "of the probes", "of the probes, an image",
             "evaluations", "products"], mnist,
        ),
        "model": model["model"],
        "model_fingerprint": model["model_fingerprint"],
        "data": model["data"],
        "data_fingerprint": model["data_fingerprint"],
    }  # fmt: skip
    render.page("likelihood", values)


if __name__ == "__main__":
    main()

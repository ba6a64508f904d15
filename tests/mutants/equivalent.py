"""Mutants that are the same solver, each with the reason."""

from __future__ import annotations

KEPT = "one more image is kept, and only the newest two are read"
NODES = "the nodes are symmetric about 0: the same points and weights, in the other order"
SHAPE = "only the shape and type of that entry are used"
TWO = "two times are asked for: the second is the last"
LARGEST = "so small an error, 0 too, makes the step grow by the most that it may, either way"
BOTH = "a corrector takes 0 or at least 2 nodes"
ROUNDING = (
    "keeps the exponential of a logarithm within the grid's levels: by a rounding error, which a "
    "denoiser's range forgives"
)

# (file, statement before, statement after) -> why nothing can tell the two apart.
EQUIVALENT: dict[tuple[str, str, str], str] = {
    ("dpmpp_2m", "depth = 2", "depth = 3"): KEPT,
    ("dpmpp_2m_sde", "depth = 2", "depth = 3"): KEPT,
    (
        "dormand_prince",
        "MOST = 5000",
        "MOST = 5001",
    ): "where to give up: no run that ends takes that",
    (
        "quadrature",
        "return (a + half * (1 + NODES), half * WEIGHTS)",
        "return (a + half * (1 - NODES), half * WEIGHTS)",
    ): NODES,
    (
        "quadrature",
        "NODES, WEIGHTS = np.polynomial.legendre.leggauss(32)",
        "NODES, WEIGHTS = np.polynomial.legendre.leggauss(33)",
    ): "both rules are exact to rounding on these integrands",
    (
        "quadrature",
        "once_a_grid = lru_cache(maxsize=4096)",
        "once_a_grid = lru_cache(maxsize=4097)",
    ): "the size of a cache",
    (
        "scipy",
        "level = torch.tensor(u, dtype=torch.float64).exp().clamp(low, high)",
        "level = torch.tensor(u, dtype=torch.float64).exp()",
    ): ROUNDING,
    (
        "adaptive_sde",
        "growth = (0.8 * error.clamp_min(1e-10) ** (-1 / 1.5)).clamp(0.2, 3.0)",
        "growth = (0.8 * error ** (-1 / 1.5)).clamp(0.2, 3.0)",
    ): LARGEST,
    (
        "adaptive_sde",
        "growth = (0.8 * error.clamp_min(1e-10) ** (-1 / 1.5)).clamp(0.2, 3.0)",
        "growth = (0.8 * error.clamp_min(2e-10) ** (-1 / 1.5)).clamp(0.2, 3.0)",
    ): LARGEST,
    (
        "dormand_prince",
        "growth = (0.9 * error.clamp_min(1e-10) ** (-0.2)).clamp(0.2, 5.0)",
        "growth = (0.9 * error ** (-0.2)).clamp(0.2, 5.0)",
    ): LARGEST,
    (
        "dormand_prince",
        "growth = (0.9 * error.clamp_min(1e-10) ** (-0.2)).clamp(0.2, 5.0)",
        "growth = (0.9 * error.clamp_min(2e-10) ** (-0.2)).clamp(0.2, 5.0)",
    ): LARGEST,
    ("torchsde", "super().__init__()", "pass"): "the base class has no constructor of its own",
    (
        "torchsde",
        "return (flat[-1].reshape(x.shape), None)",
        "return (flat[1].reshape(x.shape), None)",
    ): TWO,
    (
        "torchsde_adaptive",
        "return states[-1].reshape(y.shape)",
        "return states[1].reshape(y.shape)",
    ): TWO,
    (
        "torchsde_adaptive",
        "level = torch.exp(-v.clamp(ends[0], ends[1]))",
        "level = torch.exp(-v)",
    ): ROUNDING,
    (
        "restart",
        "top = torch.full_like(levels[0], high)",
        "top = torch.full_like(levels[-1], high)",
    ): SHAPE,
    (
        "sa_solver",
        "formula = min(predictor + 1, corrector) if corrector > 0 else min(predictor, 2)",
        "formula = min(predictor + 1, corrector) if corrector > 1 else min(predictor, 2)",
    ): BOTH,
    (
        "sa_solver",
        "if state.move is not None and self.corrector > 0:",
        "if state.move is not None and self.corrector > 1:",
    ): BOTH,
}

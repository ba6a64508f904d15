"""Judged on how many images? FD against the number of samples, N = 100 to 10,000."""

from __future__ import annotations

import page

SOLVERS = ["unipc", "ancestral"]
NFE = 24
SAMPLES = [100, 200, 500, 1000, 2000, 5000, 10000]
OVERRIDES = [
    f"solvers=[{','.join(SOLVERS)}]",
    f"nfe=[{NFE}]",
    f"samples={SAMPLES}".replace(" ", ""),
]


def main() -> None:
    """Run, then write fd_vs_samples.md, .png and .csv."""
    rows = page.run("fd_vs_samples", OVERRIDES, ["fd_vs_samples"])
    at = {(row["solver"], row["samples"]): row for row in rows}
    body = []
    for n in SAMPLES:
        row = [str(n), f"{at[SOLVERS[0], n]['floor']:.3g}"]
        for s in SOLVERS:
            cell = at[s, n]
            band = "withheld below 5 d"
            if cell["fd_debiased"] is not None:
                band = f"{cell['fd_debiased']:.3g} [{cell['fd_low']:.3g}, {cell['fd_high']:.3g}]"
            row += [f"{cell['fd']:.3g}", band]
        body.append(row)
    facts = page.facts("fd_vs_samples")
    last = at[SOLVERS[0], SAMPLES[-1]]
    head = ["N", "floor", *(f"{s} {what}" for s in SOLVERS for what in ("plug-in", "bias removed"))]
    page.write(
        "fd_vs_samples",
        "FD against the number of samples",
        [
            f"FD[{facts['extractor']}] of the shipped MNIST model at NFE {NFE}, where both solvers "
            "have converged, by prefixes of one generation; labels in rotation, no guidance. The "
            "floor is the plug-in distance of as many real held-out test images, whose labels fall "
            "as they come: at small N that costs them more than the generated ones.",
            page.table(head, body),
            f"At N = {SAMPLES[-1]} {SOLVERS[0]} stands at {last['fd']:.3g}, "
            f"{last['fd'] / last['floor']:.2f} times the floor of {last['floor']:.3g}.",
            "![FD against samples](fd_vs_samples.png)",
        ],
        OVERRIDES,
        facts,
    )


if __name__ == "__main__":
    main()

"""The shape of the package: imports go one way, and the command line loads no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "sde_diffusion"

# The folders of the package: each may import only from itself and from those before it.
ORDER = [
    "errors", "system", "config", "images", "conditions", "networks", "denoisers", "operators",
    "guidance", "codecs", "process", "solvers", "sampling", "exact", "models", "hosts", "data",
    "metrics", "training", "calibration", "report", "tasks", "face", "cli", "console",
]  # fmt: skip
RANK = {name: rank for rank, name in enumerate(ORDER)}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """First-level modules of the package that ``path`` imports, anywhere in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            parts = name.split(".")
            if parts[0] == "sde_diffusion" and len(parts) > 1:
                found.add(parts[1])
        if isinstance(node, ast.ImportFrom) and node.module == "sde_diffusion":
            found |= {alias.name for alias in node.names if alias.name in RANK}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    top = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if top == "__init__":
        return  # the library face imports lazily from the top
    assert top in RANK, f"{top} has no place in the order of imports"
    above = {name for name in imported(path) if RANK[name] > RANK[top]}
    assert not above, f"{path.name} imports {sorted(above)}, which stand above it"


HELP = "import sys, sde_diffusion.cli; sys.argv[1:] = {words}; sde_diffusion.cli.main()"
QUICK = {
    "import": "import sde_diffusion",
    "--help": HELP.format(words=["--help"]),
    "train --help": HELP.format(words=["train", "--help"]),
}


@pytest.mark.parametrize("code", QUICK.values(), ids=QUICK)
def test_what_takes_a_second_loads_no_torch(code: str) -> None:
    """To import the package, and to ask the command line for help."""
    heavy = ("torch", "scipy", "matplotlib", "wandb")
    loaded = f"print('LOADED', [m for m in {heavy} if m in sys.modules])"
    words = f"import atexit, sys; atexit.register(lambda: {loaded}); {code}"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_file_is_two_things_at_once(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400

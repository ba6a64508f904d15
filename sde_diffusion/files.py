"""Files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write the whole file or nothing: a temporary file beside it, then a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as f:
        try:
            f.write(content)
            f.flush()
            os.fsync(f.fileno())
            os.chmod(f.name, 0o644)
            os.replace(f.name, path)
        except BaseException:
            os.unlink(f.name)
            raise


def fingerprint(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def asset(name: str) -> Path:
    """A shipped safetensors file by its name, else the path that ``name`` is."""
    shipped = Path(__file__).resolve().parent / "assets" / f"{name}.safetensors"
    return shipped if shipped.is_file() else Path(name)


def cache_folder() -> Path:
    """Where what can be made again is kept: SDE_DIFFUSION_CACHE, else ~/.cache/sde_diffusion."""
    named = os.environ.get("SDE_DIFFUSION_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "sde_diffusion"

"""Which files below a folder, or in a zip, are images; what else is there, and why it is left."""

from __future__ import annotations

import os
import stat
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sde_diffusion.errors import InputError

SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif",
    ".ppm", ".pgm", ".pbm", ".pnm",
}  # fmt: skip
# In any capitals.
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"}
PACKED = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".xz", ".bz2", ".zst")
# What makes one of the two of other files.
# What a job of this package has written into its folder, beside pictures that are no data.
WRITTEN = ("result.json", "results.json", "checkpoint.safetensors")
REMEDIES = {
    "picture": "give the folder that it lies in",
    ".npy": "write the array with numpy.savez",
    **dict.fromkeys(PACKED[1:], "unpack it and give the folder"),
}
MAX_BYTES = 64 * 2**20
MAX_FOLDERS = 100_000
# Others unpack without a bound on what a piece becomes.
TEXTS = {".txt", ".csv", ".jsonl", ".ndjson"}  # which may hold captions
UTF8 = 0x800  # a flag of a member of a zip, by which its name is so written
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True)
class Members:
    """Images below a folder or in a zip.

    Attributes:
        names: of the images, with / between, sorted.
        read: the content of one, or of a text beside them; what it raises is why it is broken.
        skipped: how many other files there are, by what they are.
        stored: bytes of the files, all together.
    """

    names: Sequence[str]
    read: Callable[[str], bytes]
    skipped: Counter[str]
    stored: int

    @property
    def left(self) -> list[str]:
        """What lies there and is no image, as a note."""
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(self.skipped.items()))
        return [f"{self.skipped.total()} other files skipped: {kinds}"] if kinds else []


def members(path: str, key: str, also: Set[str] = frozenset()) -> Members:
    """What there is at ``path``; InputError, which names ``key``, for no folder and no zip.

    Args:
        also: endings of other files that are taken for images, "" for none.
    """
    where = f"{key}={path}"
    if not path:
        raise InputError(f"{key}=: an empty path; give a folder or a zip of images")
    root = Path(path)
    try:
        if root.is_dir():
            return _of_folder(root, where, also)
        if not root.is_file():
            raise InputError(f"{where}: no such folder or file; give a folder or a zip of images")
        return _of_zip(root, where, also)
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            f"{where}: cannot be read ({error.filename or path}: {error.strerror}); give "
            "yourself the right to, or leave it out"
        ) from error
    except (ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        kind = root.suffix.lower()
        remedy = REMEDIES.get("picture" if kind in SUFFIXES else kind, "give one of them")
        raise InputError(
            f"{where}: neither a folder nor a whole zip file ({error}); {remedy}"
        ) from error


def _of_folder(root: Path, where: str, also: Set[str]) -> Members:
    if (root / ".hydra").is_dir() and any((root / name).is_file() for name in WRITTEN):
        raise InputError(
            f"{where}: a folder of results of this package, whose pictures are sheets and plots; "
            "give a folder of images"
        )
    names, skipped, stored = [], Counter[str](), 0
    for name, path in _walk(root, where, skipped):
        if why := _why_not(name, also):
            skipped[why] += 1
        elif not path.is_file() and not _is_broken_link(path):
            skipped["no plain file"] += 1  # a pipe would never end
        else:
            names.append(name)
            stored += 0 if _is_broken_link(path) else path.stat().st_size

    def read(name: str) -> bytes:
        path = root / name
        if _is_broken_link(path):
            raise ValueError(_leads_nowhere(path))
        if path.exists() and not path.is_file():
            raise OSError("no plain file")
        with open(path, "rb") as file:
            return _at_most(file.read(MAX_BYTES + 1))

    return Members(sorted(names), read, skipped, stored)


def _walk(root: Path, where: str, skipped: Counter[str]) -> Iterator[tuple[str, Path]]:
    """Files below ``root``, behind links too, each with its name from there.

    Hidden folders, and what this package's tasks have written, are passed over and counted.
    """
    waiting: list[tuple[Path, str, frozenset[tuple[int, int]]]] = [(root, "", frozenset())]
    visited = 0
    while waiting:
        folder, prefix, above = waiting.pop()
        visited += 1
        if visited > MAX_FOLDERS:
            raise InputError(f"{where}: more than {MAX_FOLDERS} folders below it; give one of them")
        state = folder.stat()
        inode = (state.st_dev, state.st_ino)
        if inode in above:
            skipped["link to a folder above it"] += 1
            continue
        if prefix and (folder / ".hydra").is_dir():
            skipped["folder of results of this package"] += 1
            continue
        with os.scandir(folder) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
            if prefix and not inside:
                skipped["empty folder"] += 1
            for entry in inside:
                name = f"{prefix}{entry.name}"
                if Path(entry.path).is_dir():  # False for a link to itself
                    if _is_hidden(entry.name):
                        skipped["hidden"] += 1
                    else:
                        waiting.append((Path(entry.path), f"{name}/", above | {inode}))
                elif _is_broken_link(Path(entry.path)) and not PurePosixPath(name).suffix:
                    raise InputError(
                        f"{where}: {name} is {_leads_nowhere(Path(entry.path))}; mend or remove it"
                    )
                else:
                    yield name, Path(entry.path)


def _of_zip(root: Path, where: str, also: Set[str]) -> Members:
    archive = zipfile.ZipFile(root)
    if any(name.endswith("/data.pkl") for name in archive.namelist()):
        raise InputError(
            f"{where}: a torch file; write what is in it as uint8 [N, H, W, C] by "
            "numpy.savez('images.npz', images=array), and give that"
        )
    held, skipped = dict[str, zipfile.ZipInfo](), Counter[str]()
    texts = dict[str, zipfile.ZipInfo]()
    for info in archive.infolist():
        # Some packers of Windows part folders so.
        name = _named(info).replace("\\", "/").removeprefix("./")
        if name.endswith("/"):
            continue
        if why := _why_not(name, also):
            skipped[why] += 1
            if why in TEXTS:
                texts[name] = info
            continue
        if name in held:
            raise InputError(f"{where}: holds {name} twice; pack each image once")
        if name.startswith("/") or {"..", "."} & set(name.split("/")) or name[1:2] == ":":
            raise InputError(f"{where}: holds {name}, which lies outside of it; pack it again")
        held[name] = info

    def read(name: str) -> bytes:
        info = held[name] if name in held else texts[name]
        if info.flag_bits & 1:
            raise ValueError("encrypted; unpack the archive with its password")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise ValueError("a link; pack the file itself")
        if info.compress_type not in METHODS:
            raise ValueError(f"packed by method {info.compress_type}; pack it by deflate")
        if info.file_size > MAX_BYTES:
            raise ValueError(f"{info.file_size} bytes unpacked, more than {MAX_BYTES}")
        with archive.open(info) as member:
            # A header may lie about the size: never read more than the cap.
            return _at_most(member.read(MAX_BYTES + 1))

    return Members(sorted(held), read, skipped, root.stat().st_size)


def _named(info: zipfile.ZipInfo) -> str:
    """The name of a member; of packers that write UTF-8 and do not say so, as they mean it."""
    if info.flag_bits & UTF8 or info.filename.isascii():
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _at_most(content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes unpacked")
    return content


def _is_broken_link(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _leads_nowhere(link: Path) -> str:
    """What a broken link is, in words."""
    circle = "which leads in a circle" if os.path.lexists(link.parent / os.readlink(link)) else ""
    return f"a link to {os.readlink(link)}, {circle or 'which is not there'}"


def _is_hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def _why_not(name: str, also: Set[str]) -> str:
    """Why a file is not taken for an image; empty if it is."""
    path = PurePosixPath(name)
    if any(_is_hidden(part) for part in path.parts if part not in (".", "..")):
        return "hidden"
    return "" if path.suffix.lower() in SUFFIXES | also else path.suffix or "without an ending"


def splits_in(folders: Set[str]) -> Set[str]:
    """Those that are called as the splits of a data set are."""
    return {folder for folder in folders if folder.casefold() in SPLITS}


def class_folders(names: Sequence[str]) -> list[str]:
    """The class folder that each image lies in, "" for none.

    It is the first folder of the name, below train/, test/ and the like if all lie in such, and
    below folders that hold nothing but the next one.
    """
    folders = [PurePosixPath(unicodedata.normalize("NFC", n)).parts[:-1] for n in names]
    while folders and all(folders):
        first = {parts[0] for parts in folders}
        if splits_in(first) != first and (len(first) > 1 or min(map(len, folders)) == 1):
            break
        folders = [parts[1:] for parts in folders]
    return [parts[0] if parts else "" for parts in folders]

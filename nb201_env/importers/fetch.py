"""Downloading known official files, and making tables of them.

Official names carry only the last digits of a file's MD5. The whole hashes and sizes below are what people who have the
files report, and end as the names do where the name is the file's own. Nothing here has been downloaded from its real
address by the project's tests; a local server stands for it.
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nb201_env import checks
from nb201_env.errors import NB201Error, TableFormatError, UnreachableError
from nb201_env.files import cache_folder, in_folder, locked
from nb201_env.importers.nas201 import import_pth
from nb201_env.importers.nats import import_folder
from nb201_env.importers.official import Imported

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Official:
    """A file that its authors publish.

    Attributes:
        file: its official name.
        address: where it is.
        page: where a person finds it.
        size: in bytes.
        hash: as pooch takes it, `sha256:…` or `md5:…`.
    """

    file: str
    address: str
    page: str
    size: int
    hash: str


_DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="

OFFICIAL: dict[str, Official] = {
    "nats-tss": Official(
        "NATS-tss-v1_0-3ffb9-simple.tar",
        f"{_DRIVE}17_saCsj_krKjlCBLOJEpNtzPXArMCqxU",
        "https://github.com/D-X-Y/NATS-Bench",
        1_145_989_120,
        "sha256:580fd8f3425fed9f495640b0f12ccb7744f89dec7aff263bd75aed37ab0b8bb6",
    ),
    "nas-bench-201": Official(
        "NAS-Bench-201-v1_1-096897.pth",
        f"{_DRIVE}16Y0UwGisiouVRxW-W5hEtbxmcHw_0hF_",
        "https://github.com/D-X-Y/NAS-Bench-201",
        5_003_180_601,
        "md5:55e847143ce1f7c2d89b676f6b096897",
    ),
}
"""What can be fetched, by name: NATS-Bench's topology space without weights, and NAS-Bench-201 v1.1."""

ATTEMPTS = 5
"""How often in a row a download may stop without a new byte before it is given up."""

PATIENCE = 60.0
"""Seconds without a byte after which it has stopped."""

PIECE = 1 << 14
"""Bytes at a time: as much is lost when a download stops."""


def fetch(
    name: str,
    out: str | os.PathLike[str],
    mirror: str | None = None,
    jobs: int = 1,
    progress: Progress = lambda done, total, what: None,
) -> Imported:
    """Download an official file, unless it is there already, and make a table of it.

    An interrupted download goes on where it stopped. What was downloaded stays in `downloads` of the folder for copies.

    Args:
        name: one of `OFFICIAL`.
        out: the table to write.
        mirror: another address of the same file.
        jobs: processes that read it.
        progress: called with what is done, all there is, and what is being done: megabytes first, then cells.

    Raises:
        NB201Error: if there is no such file, or `out` cannot be written.
        UnreachableError: if it cannot be downloaded.
        TableFormatError: if what was downloaded is another file.
    """
    if name not in OFFICIAL:
        raise NB201Error(f"nothing is called {checks.shown(name)}; what can be fetched: {', '.join(OFFICIAL)}")
    in_folder(out)
    official = OFFICIAL[name]
    path = download(official, cache_folder() / "downloads", mirror, progress)

    def importing(done: int, total: int) -> None:
        progress(done, total, "importing")

    if path.suffix != ".tar":
        return import_pth(path, out, importing)
    return import_folder(unpacked(path), out, jobs, importing)


def download(official: Official, folder: Path, mirror: str | None, progress: Progress) -> Path:
    """An official file in a folder, whole and of the known hash.

    Raises:
        UnreachableError: if it cannot be downloaded.
        TableFormatError: if what was downloaded is another file.
    """
    try:
        import pooch
    except ImportError:
        raise NB201Error("fetching needs pooch: pip install 'nb201-env[remote]'") from None

    pooch.get_logger().setLevel("WARNING")
    address = official.address if mirror is None else mirror
    if not re.match(r"https?://[^/]", address):
        raise NB201Error(f"an address to download from begins with https:// or http://, got {checks.shown(address)}")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / official.file):
        get = partial(_resume, part=folder / f"{official.file}.part", official=official, progress=progress)
        try:
            return Path(pooch.retrieve(address, official.hash, official.file, folder, downloader=get))
        except UnreachableError:
            raise
        except ValueError as error:  # of pooch, which has removed the file
            raise TableFormatError(f"{address} is not {official.file} of {official.page}: {error}") from None


def _resume(url: str, output_file: str, pooch: Any, *, part: Path, official: Official, progress: Progress) -> None:
    """Bring a part of a file to its end and move it where pooch wants it, going on whenever the server stops."""
    failures = 0
    while (have := part.stat().st_size if part.exists() else 0) < official.size:
        why = _append(url, part, have, official, progress)
        failures = 0 if part.stat().st_size > have else failures + 1
        if failures == ATTEMPTS:
            raise UnreachableError(
                f"{url} stopped after {have:,} of {official.size:,} bytes ({why}); the same command goes on from there"
            )
    os.replace(part, output_file)


def _append(url: str, part: Path, have: int, official: Official, progress: Progress) -> str:
    """Read on from where a part ends; why it stopped."""
    import requests

    try:
        with requests.get(url, stream=True, timeout=PATIENCE, headers={"Range": f"bytes={have}-"}) as response:
            if response.status_code in (429, *range(500, 600)):
                part.touch()
                return f"HTTP {response.status_code}"
            if response.status_code not in (200, 206):
                raise UnreachableError(f"{url} answers HTTP {response.status_code}; {_by_hand(official)}")
            if response.status_code == 200:  # it knows no ranges
                have = 0
            total = have + int(response.headers.get("Content-Length", -1))
            if total != official.size:
                raise UnreachableError(
                    f"{url} offers {total:,} bytes, not the {official.size:,} of {official.file}; {_by_hand(official)}"
                )
            with part.open("r+b" if have else "wb") as file:
                file.seek(have)
                for piece in response.iter_content(PIECE):
                    file.write(piece)
                    have += len(piece)
                    progress(have // 10**6, official.size // 10**6, "downloading, MB")
        return "it ended"
    except requests.RequestException as error:
        part.touch()
        return type(error).__name__


def _by_hand(official: Official) -> str:
    return f"download it by hand from {official.page} and use `nb201 import`"


_MEMBER = re.compile(r"\w[\w.-]*/((?:meta|\d{6})\.pickle\.pbz2)")


def unpacked(archive: Path) -> Path:
    """The folder of the records in the archive of NATS-Bench, which is made beside it.

    Raises:
        TableFormatError: if the archive is damaged or holds no records.
    """
    folder = archive.with_suffix("")
    folder.mkdir(exist_ok=True)
    try:
        with tarfile.open(archive) as opened:
            for member in opened:
                found = _MEMBER.fullmatch(member.name)
                if not found or not member.isreg():
                    continue
                path = folder / found[1]
                if path.exists() and path.stat().st_size == member.size:
                    continue
                content = opened.extractfile(member)
                assert content is not None
                with path.open("wb") as file:
                    shutil.copyfileobj(content, file)
    except (tarfile.TarError, EOFError) as error:
        raise TableFormatError(f"{archive} is damaged: it is no tar archive ({error})") from None
    if not any(folder.iterdir()):
        raise TableFormatError(f"{archive} holds no records of NATS-Bench")
    return folder

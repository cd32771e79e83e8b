"""Bring a public corpus into the workspace: from a folder, or STAR from its public repository; then verify it.

What is put into place was compared with the committed manifest first, so a wrong or damaged copy leaves nothing.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from selective_autonomy.errors import TraceError
from selective_autonomy.traces.importers.abcd import source as abcd_source
from selective_autonomy.traces.importers.manifest import check_manifest
from selective_autonomy.traces.importers.star import source as star_source
from selective_autonomy.traces.whole import whole_directory

STAR_REPOSITORY = "https://github.com/RasaHQ/STAR.git"
STAR_COMMIT = "3058975092cdd09798e4a3a9e4ae135755824545"
GIT_TIMEOUT_S = 900  # a shallow fetch of a few hundred megabytes on a slow line


def fetch_star(
    out: Path,
    source: Path | None,
    *,
    manifest: Mapping[str, str],
    repository: str = STAR_REPOSITORY,
    commit: str = STAR_COMMIT,
) -> int:
    """Put STAR (dialogues, forms, graphs, reply texts) into `out`, replacing what was there.

    Args:
        source: a folder with the packed layout or a checkout; None: fetch `commit` of `repository` with git.
        manifest: what must be there, unaltered (`read_manifest`).

    Returns:
        How many parts the source has that the manifest does not list; they are brought along and never imported.

    Raises:
        TraceError: the source lacks the corpus or differs from the manifest, or git failed.
    """
    if source is not None:
        return _take_star(source, out, manifest)
    with tempfile.TemporaryDirectory(prefix="star-") as checkout:
        _checkout(repository, commit, Path(checkout))
        return _take_star(Path(checkout), out, manifest)


def fetch_abcd(out: Path, source: Path | None, *, manifest: Mapping[str, str]) -> None:
    """Put ABCD (conversations, kb, ontology, guidelines) into `out`, replacing what was there.

    Args:
        source: a folder with the packed layout, which must agree with the manifest, or with the published files,
            of which only the three definitions are in the manifest.

    Raises:
        TraceError: there is no source (it is not fetched for you), it lacks files, or differs from the manifest.
    """
    if source is None:
        raise TraceError(
            "ABCD is not fetched by itself; get the folder `data` of the public GitHub repository asappresearch/abcd "
            "and run `selective-autonomy traces fetch abcd --from FOLDER`"
        )
    names = abcd_source.verify(source, manifest)
    with whole_directory(out) as directory:
        for name in names:
            shutil.copyfile(source / name, directory / name)


def _take_star(source: Path, out: Path, manifest: Mapping[str, str]) -> int:
    digests = star_source.star_digests(star_source.read_dialogues(source), star_source.read_definitions(source))
    unlisted = check_manifest(digests, manifest, source)
    dialogues = star_source.find_dialogues(source)
    with whole_directory(out) as directory:
        if dialogues.is_file():
            shutil.copyfile(dialogues, directory / dialogues.name)
        else:
            (directory / "dialogues").mkdir()
            for path in dialogues.glob("*.json"):
                shutil.copyfile(path, directory / "dialogues" / path.name)
        for path in star_source.definition_files(source):
            packed = path.name == star_source.PACKED_DEFINITIONS
            target = directory / (path.name if packed else Path(*path.parts[-3:]))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return unlisted


def _checkout(repository: str, commit: str, into: Path) -> None:
    commands = (
        ["git", "init", "--quiet", str(into)],
        ["git", "-C", str(into), "fetch", "--quiet", "--depth", "1", repository, commit],
        ["git", "-C", str(into), "checkout", "--quiet", "FETCH_HEAD"],
    )
    for command in commands:
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=GIT_TIMEOUT_S)
        except (OSError, subprocess.SubprocessError) as err:
            said = (getattr(err, "stderr", None) or str(err)).strip().splitlines()[-1:]
            raise TraceError(
                f"could not fetch {commit[:12]} of {repository}: {' '.join(said)}; check git and the network, or give "
                "a folder with the corpus: `selective-autonomy traces fetch star --from FOLDER`"
            ) from err

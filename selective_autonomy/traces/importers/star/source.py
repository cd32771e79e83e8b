"""STAR on disk: the packed layout or a checkout of the public repository, read into plain JSON objects.

Packed: `dialogues-open.jsonl.xz` and `apis-and-tasks.tar.xz`. Public: `dialogues/*.json` (one each),
`apis/apis/*.json`, `tasks/<task>/<task>.json`, `tasks/<task>/responses.json`, anywhere beneath the source.
The two parts are found each for itself.
"""

from __future__ import annotations

import lzma
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selective_autonomy.errors import CorruptTraceFile, TraceError
from selective_autonomy.traces.importers.manifest import json_digest
from selective_autonomy.traces.lines import parse_object, read_object, read_objects

PACKED_DIALOGUES = "dialogues-open.jsonl.xz"
PACKED_DEFINITIONS = "apis-and-tasks.tar.xz"


@dataclass(frozen=True)
class RawDialogue:
    """One dialogue as logged, and where it stands (`line` 0: a file of its own)."""

    data: dict[str, Any]
    path: Path
    line: int


@dataclass
class Definitions:
    """The query forms by API name; for each task its graph file and its reply texts. All as published."""

    apis: dict[str, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    responses: dict[str, dict[str, Any]] = field(default_factory=dict)

    def entries(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(name in the manifest, JSON object) of every definition."""
        for kind, group in (("api", self.apis), ("task", self.tasks), ("responses", self.responses)):
            for name in sorted(group):
                yield f"{kind}/{name}", group[name]

    def add(self, parts: tuple[str, ...], data: dict[str, Any]) -> None:
        """Take in the file whose path ends in `parts`.

        Raises:
            TraceError: the same definition was taken in before with other content.
        """
        group, name = self.apis, parts[-1].removesuffix(".json")
        if parts[-3] == "tasks":
            group, name = (self.responses if parts[-1] == "responses.json" else self.tasks), parts[-2]
        if group.get(name, data) != data:
            raise TraceError(f"two different files {'/'.join(parts[-3:])}; give a folder with one copy of the corpus")
        group[name] = data


def is_definition(parts: tuple[str, ...]) -> bool:
    """True if the path's end is that of an API, a task graph or a task's reply texts."""
    if len(parts) < 3 or not parts[-1].endswith(".json"):
        return False
    return parts[-3:-1] == ("apis", "apis") or (
        parts[-3] == "tasks" and parts[-1] in (f"{parts[-2]}.json", "responses.json")
    )


def find_dialogues(source: Path) -> Path:
    """The packed dialogues, or the folder `dialogues` of a checkout.

    Raises:
        TraceError: neither is there.
    """
    if (source / PACKED_DIALOGUES).is_file():
        return source / PACKED_DIALOGUES
    for candidate in sorted(source.glob("**/dialogues")):
        if candidate.is_dir() and any(candidate.glob("*.json")):
            return candidate
    raise TraceError(
        f"no STAR dialogues in {source}: neither {PACKED_DIALOGUES} nor a folder dialogues with *.json; fetch them "
        "with `selective-autonomy traces fetch star`, or give the folder that holds them with --from"
    )


def definition_files(source: Path) -> list[Path]:
    """The packed definitions alone, or every API, graph and reply file beneath the source; empty if there is none."""
    packed = source / PACKED_DEFINITIONS
    if packed.is_file():
        return [packed]
    return [path for path in sorted(source.rglob("*.json")) if is_definition(path.relative_to(source.parent).parts)]


def star_digests(dialogues: Iterable[RawDialogue], definitions: Definitions) -> dict[str, str]:
    """name -> sha256 of every dialogue (`dialogue/<DialogueID>`), API, task graph and reply file, for the manifest."""
    digests = {f"dialogue/{dialogue.data['DialogueID']}": json_digest(dialogue.data) for dialogue in dialogues}
    digests.update((name, json_digest(value)) for name, value in definitions.entries())
    return digests


def read_dialogues(source: Path) -> Iterator[RawDialogue]:
    """Every dialogue in order of its id.

    Raises:
        TraceError: no dialogues beneath `source`.
        CorruptTraceFile: a file is damaged, or a dialogue has no integer `DialogueID`.
    """
    where = find_dialogues(source)
    if where.is_file():
        found = [RawDialogue(data, where, line) for line, data in read_objects(where)]
    else:
        found = [RawDialogue(read_object(path), path, 0) for path in sorted(where.glob("*.json"))]
    for dialogue in found:
        if type(dialogue.data.get("DialogueID")) is not int:
            raise CorruptTraceFile(
                dialogue.path, dialogue.line, f"got DialogueID {dialogue.data.get('DialogueID')!r}, expected an integer"
            )
    return iter(sorted(found, key=lambda dialogue: dialogue.data["DialogueID"]))


def read_definitions(source: Path) -> Definitions:
    """The forms, graphs and reply texts.

    Raises:
        TraceError: none beneath `source`, or a task lacks one of its two files.
        CorruptTraceFile: a file is damaged.
    """
    definitions = Definitions()
    for path in definition_files(source):
        if path.name == PACKED_DEFINITIONS:
            for parts, data in _packed_definitions(path):
                definitions.add(parts, data)
        else:
            definitions.add(path.parts, read_object(path))
    halves = sorted(set(definitions.tasks) ^ set(definitions.responses))
    if not definitions.apis or not definitions.tasks or halves:
        raise TraceError(
            f"{source}: got {len(definitions.apis)} APIs and {len(definitions.tasks)} tasks, tasks with one file of "
            f"two: {halves}; expected {PACKED_DEFINITIONS}, or apis/apis/*.json, and tasks/T/T.json with "
            f"tasks/T/responses.json for every task T"
        )
    return definitions


def _packed_definitions(where: Path) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    try:
        with tarfile.open(where, "r:xz") as archive:
            for member in archive:
                parts = Path(member.name).parts
                content = archive.extractfile(member) if member.isfile() and is_definition(parts) else None
                if content is not None:
                    yield parts, parse_object(content.read().decode("utf-8"), where / member.name, 0)
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError, UnicodeDecodeError) as err:
        raise CorruptTraceFile(where, 0, f"the archive is damaged or cut off ({err}); fetch it again") from err

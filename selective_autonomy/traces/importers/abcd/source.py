"""ABCD on disk: the packed layout, or the published `abcd_v1.1.json` (also `.gz`), into one plain form.

Beside the conversations both layouts have `kb.json` (intent -> buttons), `ontology.json` (buttons, slots, values) and
`guidelines.json` (the written procedures). The published `test` conversations are never read: they are kept
for later tests on unseen cases.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selective_autonomy.errors import CorruptTraceFile, TraceError
from selective_autonomy.traces.importers.manifest import check_manifest, file_digests
from selective_autonomy.traces.lines import parse_object, read_object, read_objects

PACKED_CONVERSATIONS = "conversations-train-dev.jsonl.xz"
PUBLISHED_CONVERSATIONS = ("abcd_v1.1.json.gz", "abcd_v1.1.json")
DEFINITIONS = ("kb.json", "ontology.json", "guidelines.json")
SPLITS_READ = ("train", "dev")

_PLACEHOLDER = re.compile(r"(<\w+>)")
# Of more than one word: where nothing follows them, a lazy match would stop at the first.
_SHAPES = {
    "<phone>": r"(\(?\d{3}\)?[ .-]*\d{3}[ .-]*\d{4}|.+?)",
    "<street_address>": r"(\d+ \w+ (?:ave|avenue|drive|dr|st|street|lane|road|rd)\b\.?|.+?)",
}


@dataclass(frozen=True)
class Button:
    """One button press: the button, what was typed (in order), and what was said since the press before.

    `marked`: the values with placeholders, as the corpus holds them of every conversation; they say what a value is.
    """

    name: str
    values: tuple[str, ...]
    said: str
    marked: tuple[str, ...]


@dataclass(frozen=True)
class Conversation:
    """One conversation. `verbatim`: texts and values are as typed, not with placeholders for personal data."""

    id: int
    split: str
    flow: str | None
    buttons: tuple[Button, ...]
    verbatim: bool


def find_conversations(source: Path) -> Path:
    """The file with the conversations.

    Raises:
        TraceError: there is none in `source`.
    """
    for name in (PACKED_CONVERSATIONS, *PUBLISHED_CONVERSATIONS):
        if (source / name).is_file():
            return source / name
    raise TraceError(
        f"no ABCD corpus in {source}: neither {PACKED_CONVERSATIONS} nor {PUBLISHED_CONVERSATIONS[0]}; get the folder "
        "`data` of the public GitHub repository asappresearch/abcd, and give it with `selective-autonomy traces fetch "
        "abcd --from FOLDER`"
    )


def verify(source: Path, manifest: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the corpus's files, after comparing them with the manifest (name -> sha256).

    The published conversations are not in the manifest (they hold what is held out here): of that layout only
    the three definitions are compared.

    Raises:
        TraceError: the corpus is not there, or differs from the manifest.
    """
    conversations = find_conversations(source).name
    names = (conversations, *DEFINITIONS)
    expected = {n: d for n, d in manifest.items() if n in DEFINITIONS or conversations == PACKED_CONVERSATIONS}
    check_manifest(file_digests(source, names), expected, source)
    return names


def read_conversations(source: Path) -> Iterator[Conversation]:
    """Every train and dev conversation, in order of the file.

    Raises:
        TraceError: there is no corpus in `source`.
        CorruptTraceFile: the file is damaged, or a conversation is not in the expected shape.
    """
    path = find_conversations(source)
    packed = path.name == PACKED_CONVERSATIONS
    for line, data in read_objects(path) if packed else _published(path):
        try:
            conversation = _packed_conversation(data) if packed else _published_conversation(data)
        except (KeyError, TypeError, IndexError, ValueError) as err:
            why = f"a conversation is not as ABCD 1.1 has it ({type(err).__name__}: {err})"
            raise CorruptTraceFile(path, line, why) from err
        yield conversation


def read_definitions(source: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """kb, ontology, guidelines.

    Raises:
        CorruptTraceFile: one is missing or damaged.
    """
    kb, ontology, guidelines = (read_object(source / name) for name in DEFINITIONS)
    return kb, ontology, guidelines


def _packed_conversation(data: dict[str, Any]) -> Conversation:
    buttons = tuple(Button(s["action"], tuple(s["values"]), s["new_text"], tuple(s["values"])) for s in data["steps"])
    typed = _as_typed(buttons, data["raw_text"], data["raw_actions"]) if "raw_text" in data else None
    return Conversation(data["convo_id"], data["split"], data["flow"], typed or buttons, typed is not None)


def _as_typed(buttons: tuple[Button, ...], text: str, actions: list[Any]) -> tuple[Button, ...] | None:
    """The same presses with words and values as typed; None where the two versions cannot be laid side by side.

    A value without a placeholder stays as the corpus has it: `boots_how_3`, where the desk showed a question's text.
    """
    if len(actions) != len(buttons):  # the typed version leaves out a press that repeats an earlier one
        return None
    found = re.match(r"\s*".join(map(_pattern, buttons)), " ".join(text.split()), re.IGNORECASE)
    if found is None:
        return None
    groups = iter(found.groups())
    typed: list[Button] = []
    name_of: dict[str, str] = {}  # what was said in place of a placeholder -> that placeholder
    for button, (_, given, *_) in zip(buttons, actions, strict=True):
        said = next(groups)
        for name in _PLACEHOLDER.findall(button.said):
            name_of[next(groups).lower()] = name
        if len(given) != len(button.values):
            typed.append(Button(button.name, tuple(given), said.strip(), tuple(given)))
            continue
        pairs = [(v, g if _PLACEHOLDER.fullmatch(v) else v) for v, g in zip(button.values, given, strict=True)]
        marked = tuple(_mark(value, name_of) if value != mark else mark for mark, value in pairs)
        typed.append(Button(button.name, tuple(value for _, value in pairs), said.strip(), marked))
    return tuple(typed)


def _mark(value: str, name_of: Mapping[str, str]) -> str:
    """The placeholder of what was typed, a street with what follows it being an address; itself where it has none."""
    streets = [said for said, name in name_of.items() if name == "<street_address>" and value.lower() != said]
    if any(value.lower().startswith(said) for said in streets):
        return "<full_address>"
    return name_of.get(value.lower(), value)


def _pattern(button: Button) -> str:
    """A group for the message, within it one for each placeholder; one that ends the message ends with a word."""
    pieces = _PLACEHOLDER.split(" ".join(button.said.split()))
    parts = [_SHAPES.get(piece, "(.+?)") if i % 2 else re.escape(piece) for i, piece in enumerate(pieces)]
    return "(" + "".join(parts) + (r"(?!\S)" if len(pieces) > 1 and not pieces[-1] else "") + ")"


def _published(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            data = parse_object(file.read(), path, 0)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as err:
        raise CorruptTraceFile(path, 0, f"damaged or cut off ({err}); fetch it again") from err
    for split in SPLITS_READ:
        if not isinstance(data.get(split), list):
            raise CorruptTraceFile(
                path, 0, f"got keys {sorted(data)[:5]}, expected a list of conversations in {split!r}"
            )
        for conversation in data[split]:
            yield 0, {**conversation, "split": split}


def _published_conversation(data: dict[str, Any]) -> Conversation:
    buttons: list[Button] = []
    said: list[str] = []
    for turn in data["delexed"]:
        if turn["speaker"] != "action":
            said.append(turn["text"])
            continue
        _, _, name, values, _ = turn["targets"]
        buttons.append(Button(name, tuple(values), " ".join(said), tuple(values)))
        said = []
    return Conversation(data["convo_id"], data["split"], data["scenario"]["flow"], tuple(buttons), verbatim=False)

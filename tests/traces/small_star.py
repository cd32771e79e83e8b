"""A hand-made corpus in the shape of STAR (format 7), in both layouts. Every word of it is ours."""

from __future__ import annotations

import io
import json
import lzma
import tarfile
from pathlib import Path
from typing import Any

API = {
    "input": [
        {"Name": "Days", "Type": "Integer", "Min": 1, "Max": 30, "ReadableName": "Days"},
        {"Name": "Size", "Type": "Categorical", "Categories": ["Small", "Large"], "ReadableName": "Frame Size"},
        {"Name": "CustomerName", "Type": "ShortString", "ReadableName": "Customer Name"},
        {"Name": "Electric", "Type": "Boolean", "ReadableName": "Electric"},
        {"Name": "RequestType", "Type": "RequestType", "Categories": ["Check", "Book"], "ReadableName": "Request"},
    ],
    "output": [],
    "required": ["Days", "RequestType"],
    "db": "bike",
    "function": "f",
    "returns_count": False,
}
TASK = {
    "task": "rent_a_bike",
    "replies": {
        "hello": "Hello!",
        "bike_ask_days": "For how many days?",
        "bike_inform_ready": "The {colour:s} bike is ready for {days:d} days.",
        "bike_inform_nothing_found": "No such bike.",
        "available": "Available",
        "query_check": "Query Check",
        "query_book": "Query Book",
        "query_success": "Succeeded",
        "out_of_scope": "Sorry, I do not follow. I only rent bikes.",
    },
    "graph": {
        "hello": "bike_ask_days",
        "bike_ask_days": "query_check",
        "available": "query_book",
        "query_success": "bike_inform_ready",
    },
}
RESPONSES = {k: v for k, v in TASK["replies"].items() if k.startswith(("hello", "bike_", "out_of"))}  # type: ignore[attr-defined]
OTHER_TASK = {
    "task": "repair",
    "replies": {
        "hello": "Hello!",
        "shop_ask": "What is broken?",
        "out_of_scope": "Sorry, I do not follow. I only repair.",
    },
    "graph": {"hello": "shop_ask", "shop_ask": "query"},
}
DEFINITIONS = {
    "apis/apis/bike_rent.json": API,
    "apis/dbs/bike.json": {"not": "a definition"},
    "tasks/bike_rent/bike_rent.json": TASK,
    "tasks/bike_rent/responses.json": RESPONSES,
    "tasks/shop_repair/shop_repair.json": OTHER_TASK,
    "tasks/shop_repair/responses.json": OTHER_TASK["replies"],
}
SECRETS = ("SECRET-DRAFT", "SECRET-GUIDE", "SECRET-TASK", "SECRET-OPTION", "SECRET-ITEM", "worker-7")


def user(text: str, at: int) -> dict[str, Any]:
    return {"Agent": "User", "Action": "utter", "Text": text, "UnixTime": at}


def query(at: int, *constraints: dict[str, str], api: str = "bike_rent") -> dict[str, Any]:
    return {"Agent": "Wizard", "Action": "query", "APIName": api, "Constraints": list(constraints), "UnixTime": at}


def result(item: dict[str, Any] | None, total: int = -1, api: str = "bike_rent") -> dict[str, Any]:
    found = {} if item is None else {"Item": {"APIName": api, **item}}
    return {"Agent": "KnowledgeBase", "Action": "return_item", "APIName": api, "TotalItems": total, **found}


def pick(label: str, text: str, at: int) -> dict[str, Any]:
    return {
        "Agent": "Wizard", "Action": "pick_suggestion", "ActionLabel": label, "Text": text, "UnixTime": at,
        "ActionLabelOptions": [label, "SECRET-OPTION"], "PrimaryItem": {"x": "SECRET-ITEM"},
    }  # fmt: skip


def wizard(action: str, at: int, **more: Any) -> dict[str, Any]:
    return {"Agent": "Wizard", "Action": action, "UnixTime": at, **more}


EVENTS = [
    {"Agent": "UserGuide", "Action": "instruct", "Text": "SECRET-GUIDE", "UnixTime": 1000},
    user("a bike please", 1010),
    wizard("request_suggestions", 1015, Text="SECRET-DRAFT"),
    pick("bike_ask_days", "For how many days?", 1020),
    user("three, I am Mia", 1030),
    wizard("select_task", 1033, Task="bike_rent"),
    query(
        1040,
        {"Days": "api.is_equal_to(3)"},
        {"Size": 'api.is_one_of(["Small","Large"])'},
        {"CustomerName": '"Mia "'},
        {"Electric": "True"},
        {"RequestType": '"Check"'},
        {"RequestType": '"Book"'},
    ),
    result({"Colour": "red", "Locks": ["front", "back"], "Price": 12, "Insured": True}),
    pick("custom", "It is a red one!", 1050),
    user("lovely", 1060),
    wizard("utter", 1070, Text="Enjoy the ride."),
    {"Agent": "User", "Action": "complete", "UnixTime": 1090},
]


def dialogue(number: int, events: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "AnonymizedUserWorkerID": "user-1",
        "AnonymizedWizardWorkerID": "worker-7",
        "BatchID": "b",
        "CompletionLevel": "Complete",
        "DialogueID": number,
        "Events": EVENTS if events is None else events,
        "FORMAT-VERSION": 7,
        "Scenario": {
            "Happy": True,
            "MultiTask": False,
            "UserTask": "SECRET-TASK",
            "WizardCapabilities": [{"Task": "bike_rent"}],
            "WizardTask": "Rent out bikes. (You can find the video tutorial under link, in case you want it.)",
        },
        "UserQuestionnaire": [{"Question": "Did you get a bike?", "Answer": True}],
        "WizardQuestionnaire": [{"Question": "Was it hard?", "Answer": False}],
        **changes,
    }


DIALOGUES = [
    dialogue(1),
    dialogue(2, [], CompletionLevel="EarlyDisconnectDuringDialogue", UserQuestionnaire=None, WizardQuestionnaire=[]),
    dialogue(12, [user("hi", 50), query(60, {"Days": "2"}, {"RequestType": '"Book"'}), result(None, 0)]),
]


def write_packed(folder: Path, dialogues: list[dict[str, Any]] = DIALOGUES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(d) + "\n" for d in dialogues)
    (folder / "dialogues-open.jsonl.xz").write_bytes(lzma.compress(lines.encode()))
    with tarfile.open(folder / "apis-and-tasks.tar.xz", "w:xz") as archive:
        for name, value in DEFINITIONS.items():
            content = json.dumps(value).encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return folder


def write_public(folder: Path, dialogues: list[dict[str, Any]] = DIALOGUES) -> Path:
    for d in dialogues:
        _write(folder / "dialogues" / f"{d['DialogueID']}.json", d)
    for name, value in DEFINITIONS.items():
        _write(folder / name, value)
    (folder / "README.md").write_text("a checkout")
    return folder


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2))

"""A hand-made corpus in the shape of ABCD, packed and as published. Every word of it is ours."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

KB = {"lost_bike": ["find-account", "send-bike"], "late_fee": ["find-account", "ask-boss"]}
ONTOLOGY = {
    "intents": {"subflows": {"rental_issue": ["lost_bike"], "money_issue": ["late_fee"]}},
    "actions": {
        "kb_query": {"find-account": ["customer_name", "account_id"], "check-order": ["username", "email", "order_id"]},
        "interaction": {"send-bike": ["bike_slotval", "street_address"], "ask-boss": []},
    },
    "values": {"enumerable": {"customer_name": ["Mia Moe"], "bike_slotval": ["red bike", "blue bike"]}},
}
GUIDELINES = {
    "Rental Issue": {
        "description": "lost and found",
        "subflows": {
            "Lost Bike": {
                "instructions": ["Be kind."],
                "actions": [
                    {"type": "kb query", "button": "Find Account", "text": "Ask the name", "subtext": ["Full"]}
                ],
            }
        },
    }
}


def step(action: str, values: list[str], text: str) -> dict[str, Any]:
    return {"turn_id": 1, "action": action, "values": values, "new_text": text}


TRAIN = {
    "convo_id": 7,
    "split": "train",
    "flow": None,
    "steps": [
        step("find-account", ["mia moe"], "hello? my bike is gone, mia moe <account_id>"),
        step("check-order", ["<username>", "<username>", "<username>"], "<username> <email> <order_id>"),
        step("ask-boss", ["none"], ""),
        step("send-bike", ["<street_address>"], "where to? <street_address>"),
    ],
}
DEV = {
    "convo_id": 8,
    "split": "dev",
    "flow": "rental_issue",
    "steps": [
        step("find-account", ["<account_id>"], "hello? my bike is gone. what is your id? <account_id>"),
        step("send-bike", ["red bike"], "the red one. sent to <street_address>?"),
    ],
    "raw_text": "Hello? My bike is  gone. What is your ID? A77X The red one. Sent to 5 Oak St? Yes. Bye",
    "raw_actions": [["find the account", ["a77x"]], ["send a bike", ["red bike"]]],
}
UNALIGNED = {**DEV, "convo_id": 9, "raw_actions": [["find the account", ["a77x"]]]}


def published(conversation: dict[str, Any]) -> dict[str, Any]:
    """The same conversation as ABCD publishes it: turns with speakers, an action as a turn of its own."""
    turns = []
    for s in conversation["steps"]:
        if s["new_text"]:
            turns.append(
                {"speaker": "customer", "text": s["new_text"], "targets": ["x", "retrieve_utterance", None, [], 3]}
            )
        targets = ["lost_bike", "take_action", s["action"], s["values"], -1]
        turns.append({"speaker": "action", "text": "a button was pressed", "targets": targets})
    return {"convo_id": conversation["convo_id"], "scenario": {"flow": conversation["flow"]}, "delexed": turns}


def write_definitions(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in (("kb", KB), ("ontology", ONTOLOGY), ("guidelines", GUIDELINES)):
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


def write_packed(folder: Path, conversations: list[dict[str, Any]]) -> Path:
    lines = "".join(json.dumps(c) + "\n" for c in conversations)
    write_definitions(folder)
    (folder / "conversations-train-dev.jsonl.xz").write_bytes(lzma.compress(lines.encode()))
    return folder


def write_published(folder: Path, conversations: list[dict[str, Any]]) -> Path:
    data: dict[str, Any] = {"train": [], "dev": [], "test": [published({**TRAIN, "convo_id": 99})]}
    for c in conversations:
        data[c["split"]].append(published(c))
    write_definitions(folder)
    (folder / "abcd_v1.1.json.gz").write_bytes(gzip.compress(json.dumps(data).encode()))
    return folder

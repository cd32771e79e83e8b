"""STAR: operators of a crowd-sourced help desk with query forms and suggested replies.

What the operator could see or did becomes events, in the order of the log. What nobody at the desk saw (the
customer's instructions and task) and what would give the next action away (drafts typed to get suggestions, the
suggestions they brought, picks on the way) stays out; the report counts it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from selective_autonomy.errors import CorruptTraceFile
from selective_autonomy.process.actions import Scalar, SendReply, SendTextToChat, SubmitForm
from selective_autonomy.process.comparison import FREE_TEMPLATES
from selective_autonomy.traces.importers.manifest import check_manifest
from selective_autonomy.traces.importers.result import ImportResult, conclude
from selective_autonomy.traces.importers.star.schema import PROCESS_ID, PROCESS_VERSION, Usage, derive_schema
from selective_autonomy.traces.importers.star.source import Definitions, read_definitions, read_dialogues, star_digests
from selective_autonomy.traces.importers.star.values import constraint_value
from selective_autonomy.traces.schema import CustomerMessage, Event, OperatorAction, Outcome, ScreenUpdate, Session

# (agent, action) that never becomes an event, and why: the words that the report counts it under.
LEFT_OUT = {
    ("UserGuide", "instruct"): "UserGuide instruct: steers the customer, no operator saw it",
    ("Wizard", "request_suggestions"): "request_suggestions: the draft gives the next reply away",
    ("Wizard", "select_task"): "select_task: which form is on top, gives the next form away",
    ("Wizard", "select_primary"): "select_primary: which record is worked on",
    ("Wizard", "select_secondary"): "select_secondary: which second record is worked on",
}
_TUTORIAL = re.compile(r"\s*\(You can find the video tutorial[^)]*\)")


def import_star(
    source: Path, *, manifest: Mapping[str, str] | None = None, on_session: Callable[[], None] | None = None
) -> ImportResult:
    """Import STAR from its packed or its public layout beneath `source`.

    Args:
        manifest: name -> sha256 as `star_digests` gives it. Only what it lists is imported, after checking that
            all of it is there, unaltered; so every copy of the corpus gives the same sessions and splits. None:
            everything is imported.
        on_session: called after each dialogue, for progress.

    Raises:
        TraceError: the corpus is not there or is not what the manifest describes.
        CorruptTraceFile: a file or a dialogue cannot be read; names file and line.
    """
    definitions, dialogues = read_definitions(source), list(read_dialogues(source))
    not_represented: Counter[str] = Counter()
    notes: list[str] = []
    if manifest is not None:
        check_manifest(star_digests(dialogues, definitions), manifest, source)
        listed = [d for d in dialogues if f"dialogue/{d.data['DialogueID']}" in manifest]
        not_represented["dialogues that the manifest does not list"] = len(dialogues) - len(listed)
        dialogues, definitions = listed, _only_listed(definitions, manifest)
    usage = Usage()
    sessions = []
    for dialogue in dialogues:
        try:
            sessions.append(_session(dialogue.data, definitions, usage, not_represented))
        except (KeyError, TypeError, AttributeError, ValueError) as err:
            why = f"dialogue {dialogue.data['DialogueID']} is not as STAR format 7 has it ({type(err).__name__}: {err})"
            raise CorruptTraceFile(dialogue.path, dialogue.line, why) from err
    schema, departures = derive_schema(definitions, usage)
    notes += departures
    notes.append(
        "Slots of suggested replies were filled by the desk from the record on the screen, so they are empty here; "
        "`custom` replies carry the operator's words in the slot `text`."
    )
    return conclude(
        sessions, schema, source=f"STAR in {source.name}", not_represented=not_represented, notes=notes,
        on_session=on_session,
    )  # fmt: skip


def operator_pseudonym(worker_id: str) -> str:
    """A stable pseudonym of a worker."""
    return f"star-{hashlib.sha256(worker_id.encode()).hexdigest()[:12]}"


def _only_listed(definitions: Definitions, manifest: Mapping[str, str]) -> Definitions:
    return Definitions(
        apis={name: value for name, value in definitions.apis.items() if f"api/{name}" in manifest},
        tasks={name: value for name, value in definitions.tasks.items() if f"task/{name}" in manifest},
        responses={name: value for name, value in definitions.responses.items() if f"responses/{name}" in manifest},
    )


def _session(data: dict[str, Any], definitions: Definitions, usage: Usage, left_out: Counter[str]) -> Session:
    scenario, worker = data["Scenario"], data["AnonymizedWizardWorkerID"]
    tasks = tuple(dict.fromkeys(capability["Task"] for capability in scenario["WizardCapabilities"]))
    briefing = _TUTORIAL.sub("", scenario["WizardTask"]).strip()
    if len(tasks) == 1 and briefing:
        usage.briefings.setdefault(tasks[0], Counter())[briefing] += 1
    happy = "single_happy" if scenario["Happy"] else "single_unhappy"
    complete = data["CompletionLevel"] == "Complete"
    return Session(
        session_id=f"star-{data['DialogueID']:05d}",
        process_id=PROCESS_ID,
        process_version=PROCESS_VERSION,
        procedures=tasks,
        operator_id=operator_pseudonym(worker),
        source=f"star:{data['DialogueID']}",
        labels={
            "stratum": "multi" if scenario["MultiTask"] else happy,
            "completion": data["CompletionLevel"],
            "operator_hash_mod8": str(int(hashlib.sha256(worker.encode()).hexdigest(), 16) % 8),
        },
        events=tuple(_events(data["Events"], briefing, definitions, usage, left_out)),
        outcome=Outcome(status="complete" if complete else "abandoned", answers=_answers(data, left_out)),
    )


def _events(
    logged: list[dict[str, Any]], briefing: str, definitions: Definitions, usage: Usage, left_out: Counter[str]
) -> list[Event]:
    events: list[Event] = []
    now = logged[0]["UnixTime"] if logged else 0
    if logged and briefing:  # the operator's own instructions for this case; they stand on the screen from the start
        events.append(ScreenUpdate(at=datetime.fromtimestamp(now, UTC), values={"briefing": briefing}))
    for entry in logged:
        now_logged = entry.get("UnixTime", now)  # form results carry no time: they show up with the query
        if now_logged < now:
            left_out["times that went backwards, set to the time before"] += 1
        now = max(now, now_logged)
        at = datetime.fromtimestamp(now, UTC)
        match entry["Agent"], entry["Action"]:
            case "User", "utter":
                events.append(CustomerMessage(at=at, text=entry["Text"]))
            case "Wizard", "query":
                events.append(OperatorAction(at=at, action=_query(entry, definitions, usage, left_out)))
            case "KnowledgeBase", "return_item":
                events.append(ScreenUpdate(at=at, form=entry["APIName"], values=_shown(entry)))
            case "Wizard", "pick_suggestion":
                events.append(OperatorAction(at=at, action=_reply(entry, usage)))
            case "Wizard", "utter":
                events.append(OperatorAction(at=at, action=SendTextToChat(text=entry["Text"])))
            case "User", "complete":
                pass  # the outcome says it
            case agent, action:
                left_out[LEFT_OUT.get((agent, action), f"{agent} {action}: unknown to this importer")] += 1
    return events


def _query(entry: dict[str, Any], definitions: Definitions, usage: Usage, left_out: Counter[str]) -> SubmitForm:
    api = entry["APIName"]
    published = definitions.apis.get(api, {"input": [], "required": []})
    types = {spec["Name"]: spec["Type"] for spec in published["input"]}
    values: dict[str, Scalar] = {}
    for constraint in entry["Constraints"]:
        for name, text in constraint.items():
            value = constraint_value(text, types.get(name, "ShortString"))
            if name in values and values[name] != value:
                left_out["an earlier value of a field that one query holds twice: the last one stands"] += 1
            values[name] = value
    usage.omitted.update((api, name) for name in published["required"] if name not in values)
    return SubmitForm(form=api, values=values)


def _reply(entry: dict[str, Any], usage: Usage) -> SendReply:
    label, text = entry["ActionLabel"], entry["Text"]
    usage.sent.setdefault(label, Counter())[text] += 1
    return SendReply(template=label, slots={"text": text} if label in FREE_TEMPLATES else {})


def _shown(entry: dict[str, Any]) -> dict[str, Scalar]:
    """The record on the screen; `TotalItems` where the desk counts the matches (0: nothing was found)."""
    values: dict[str, Scalar] = {} if entry["TotalItems"] < 0 else {"TotalItems": entry["TotalItems"]}
    for name, value in (entry.get("Item") or {}).items():
        if name != "APIName" and value is not None:
            values[name] = value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)
    return values


def _answers(data: dict[str, Any], left_out: Counter[str]) -> dict[str, bool]:
    answers: dict[str, bool] = {}
    for who in ("User", "Wizard"):
        for asked in data[f"{who}Questionnaire"] or []:
            if isinstance(asked["Answer"], bool):
                answers[f"{who.lower()}:{asked['Question']}"] = asked["Answer"]
            else:
                left_out["questionnaire answers that are not yes or no"] += 1
    return answers

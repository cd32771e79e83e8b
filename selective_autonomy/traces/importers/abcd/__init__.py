"""ABCD: chats of a shop's support desk with the buttons that the agents pressed; the second corpus.

A button with its values is a submitted form. What was said since the press before is one message: the packed corpus
has no speaker tags, so it holds the agent's words too. There are no times and no operators.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from selective_autonomy.process.actions import Scalar, SubmitForm
from selective_autonomy.process.schema import ActionTier, FieldSpec, Form, Procedure, ProcessSchema
from selective_autonomy.traces.importers.abcd.placeholders import draw, repair
from selective_autonomy.traces.importers.abcd.source import Conversation, read_conversations, read_definitions, verify
from selective_autonomy.traces.importers.result import ImportResult, conclude
from selective_autonomy.traces.schema import CustomerMessage, Event, OperatorAction, Outcome, Session

PROCESS_ID, PROCESS_VERSION = "abcd", "1"
# Times are made up: sessions an hour apart in order of the file, events a second apart.
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
BETWEEN_SESSIONS, BETWEEN_EVENTS = timedelta(hours=1), timedelta(seconds=1)

BLANK = "none"  # how the corpus writes a button pressed with nothing typed
PII_SLOTS = frozenset(
    {
        "customer_name", "account_id", "username", "email", "phone", "pin_number", "full_address", "street_address",
        "zip_code", "order_id", "security_answer",
    }
)  # fmt: skip


def import_abcd(
    source: Path, *, manifest: Mapping[str, str] | None = None, on_session: Callable[[], None] | None = None
) -> ImportResult:
    """Import ABCD's train and dev conversations from the packed or the published layout.

    Args:
        manifest: name -> sha256 of the files, to be compared first; None: they are taken as they are.
        on_session: called after each session, for progress.

    Raises:
        TraceError: the corpus is not there or is not what the manifest describes.
        CorruptTraceFile: a file or a conversation cannot be read; names file and line.
    """
    if manifest is not None:
        verify(source, manifest)
    kb, ontology, guidelines = read_definitions(source)
    slots = {button: tuple(names) for group in ontology["actions"].values() for button, names in group.items()}
    choices = {slot: {v.lower() for v in values} for slot, values in ontology["values"]["enumerable"].items()}
    schema = _schema(kb, guidelines, slots, ontology)
    everything = tuple(procedure.id for procedure in schema.procedures)
    left_out: Counter[str] = Counter()
    sessions = []
    for number, conversation in enumerate(read_conversations(source)):
        opened = EPOCH + number * BETWEEN_SESSIONS
        if not conversation.verbatim:
            buttons, renamed = repair(conversation.buttons, slots)
            conversation = replace(conversation, buttons=draw(buttons, conversation.id))
            left_out["values that repeated another one's placeholder, renamed by what was said"] += renamed
        sessions.append(_session(conversation, opened, everything, slots, choices))
        left_out["speaker tags, times and operator of a conversation"] += 1
        left_out[
            "what was typed in conversations with placeholders (made up in the same shape)"
        ] += not conversation.verbatim
        left_out["flow of a conversation (the corpus does not name it)"] += conversation.flow is None
    notes = (
        "All ten flows are open in every session: the desk's agents find out which one it is.",
        "A message holds what both sides said since the press before; there are no speaker tags.",
        "Times are synthetic, strictly increasing in order of the file (labels.times). Every case counts as complete.",
        "With placeholders, several values of one press repeat the first one: a quirk of the corpus as packed. A "
        "repeated one is taken as its own slot's placeholder, else as another one said in the last five messages.",
        "A lone one that was not said is the address, the other placeholder or the dollars that were said before it.",
        "Of dev only what stands in a placeholder's place is as typed; other values are those of the ontology.",
        "Placeholders are replaced by made-up text of their shape, one a conversation (labels.text: surrogates).",
        "All text is in lower case, as most of the corpus is written.",
        "A single value is filed under the slot whose placeholder or value list it is of, else the button's first.",
    )
    return conclude(
        sessions, schema, source=f"ABCD in {source.name}", not_represented=left_out, notes=notes, on_session=on_session
    )


def _session(
    conversation: Conversation,
    opened: datetime,
    procedures: tuple[str, ...],
    slots: dict[str, tuple[str, ...]],
    choices: dict[str, set[str]],
) -> Session:
    events: list[Event] = []
    for button in conversation.buttons:
        if button.said.strip():
            events.append(CustomerMessage(at=opened + len(events) * BETWEEN_EVENTS, text=button.said.lower()))
        values = _values(button.values, button.marked, slots.get(button.name, ()), choices)
        action = SubmitForm(form=button.name, values=values)
        events.append(OperatorAction(at=opened + len(events) * BETWEEN_EVENTS, action=action))
    return Session(
        session_id=f"abcd-{conversation.id:05d}",
        process_id=PROCESS_ID,
        process_version=PROCESS_VERSION,
        procedures=procedures,
        operator_id="abcd-unknown",
        source=f"abcd:{conversation.id}",
        labels={
            "stratum": conversation.flow or "unlabelled",
            "corpus_split": conversation.split,
            "times": "synthetic",
            "text": "verbatim" if conversation.verbatim else "surrogates",
        },
        events=tuple(events),
        outcome=Outcome(status="complete"),
    )


def _values(
    typed: Sequence[str], marked: Sequence[str], slots: tuple[str, ...], choices: dict[str, set[str]]
) -> dict[str, Scalar]:
    """Name what was typed by the button's slots; what no slot can hold is kept under `value_<n>`."""
    if list(typed) == [BLANK]:
        return {}
    if len(typed) == 1:
        return {_slot_of((*marked[:1], *typed), slots, choices): typed[0]}
    return {(slots[i] if i < len(slots) else f"value_{i}"): value for i, value in enumerate(typed)}


def _slot_of(values: Sequence[str], slots: tuple[str, ...], choices: dict[str, set[str]]) -> str:
    """The slot of a value that stands alone. `values`: the same with its placeholder and as typed."""
    if "<full_address>" in values and "full_address" not in slots:
        values = (*values, "<street_address>")
    for slot in slots:
        if any(value == f"<{slot}>" or value.lower() in choices.get(slot, ()) for value in values):
            return slot
    return slots[0] if slots else "value_0"


def _schema(
    kb: dict[str, Any], guidelines: dict[str, Any], slots: dict[str, tuple[str, ...]], ontology: dict[str, Any]
) -> ProcessSchema:
    written = {name.lower().replace(" ", "_").replace("-", "_"): text for name, text in guidelines.items()}
    flows = ontology["intents"]["subflows"]
    listed = ontology["values"]["enumerable"]
    used = {button for buttons in kb.values() for button in buttons}
    return ProcessSchema(
        id=PROCESS_ID,
        version=PROCESS_VERSION,
        title="ABCD: support desk of an online shop",
        procedures=tuple(
            Procedure(
                id=flow,
                title=flow.replace("_", " ").capitalize(),
                text=_text(written[flow]) if flow in written else "",
                graph=_graph([kb[subflow] for subflow in subflows if subflow in kb]),
                forms=tuple(dict.fromkeys(b for subflow in subflows for b in kb.get(subflow, ()) if b in slots)),
            )
            for flow, subflows in flows.items()
        ),
        forms=tuple(
            Form(
                id=button,
                title=button.replace("-", " ").capitalize(),
                fields=tuple(_field(slot, listed.get(slot, ())) for slot in names),
            )
            for button, names in slots.items()
        ),
        common_forms=tuple(button for button in slots if button not in used),
        actions={"submit_form": ActionTier()},
    )


def _field(slot: str, usual: Sequence[str]) -> FieldSpec:
    """A slot takes any text (agents type into it); what the ontology lists for it are its examples."""
    schema: dict[str, Any] = {"type": "string"}
    if usual:
        schema["examples"] = [value.lower() for value in usual]
    return FieldSpec(id=slot, title=slot.replace("_", " "), pii=slot in PII_SLOTS, schema_=schema)


def _graph(chains: Sequence[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    graph: dict[str, tuple[str, ...]] = {}
    for chain in chains:
        for button, following in itertools.pairwise(chain):
            node, target = f"submit_form:{button}", f"submit_form:{following}"
            graph[node] = tuple(dict.fromkeys((*graph.get(node, ()), target)))
    return graph


def _text(flow: dict[str, Any]) -> str:
    parts = [flow["description"]]
    for title, subflow in flow["subflows"].items():
        parts.append(f"{title}: {' '.join(subflow['instructions'])}")
        parts += [f"- {' '.join((step['text'], *step['subtext']))}" for step in subflow["actions"]]
    return "\n".join(parts)

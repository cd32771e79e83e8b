"""STAR's desk as a process schema: forms from its APIs, procedures from its tasks, replies from its texts."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from selective_autonomy.process.comparison import FREE_TEMPLATES
from selective_autonomy.process.schema import ActionTier, FieldSpec, Form, Procedure, ProcessSchema, Reply
from selective_autonomy.traces.importers.star.source import Definitions
from selective_autonomy.traces.importers.star.values import EXPRESSION_PATTERN

PROCESS_ID, PROCESS_VERSION = "star", "1"

# Nodes of the task graphs that are a state of the case (what a query or the customer answered), not a reply.
GRAPH_STATES = frozenset(
    {
        "available", "unavailable", "yes", "no", "correct", "incorrect", "noanswer", "done",
        "info_missing", "info_missing2", "query_success", "query_failure",
    }
)  # fmt: skip
QUERY_NODES = frozenset({"query", "query_check", "query_book"})
# Fields that hold something about the customer as a person. "Name" alone is that of a hotel, a venue, a doctor.
PII_FIELDS = frozenset(
    {
        "CustomerName", "RenterName", "HostName", "GuestName", "PatientName", "UserName", "FullName",
        "AccountNumber", "DateOfBirth", "PIN", "SecurityAnswer1", "SecurityAnswer2",
    }
)  # fmt: skip
_MARK = re.compile(r"\{(\w+)(?::([a-z]))?\}")


@dataclass
class Usage:
    """What operators did that the published definitions do not say.

    Args:
        sent: reply label -> texts sent under it.
        omitted: (API, field) -> how often a required field was left out.
        briefings: task -> the instructions that operators had for it alone.
    """

    sent: dict[str, Counter[str]] = field(default_factory=dict)
    omitted: Counter[tuple[str, str]] = field(default_factory=Counter)
    briefings: dict[str, Counter[str]] = field(default_factory=dict)


def derive_schema(definitions: Definitions, usage: Usage) -> tuple[ProcessSchema, list[str]]:
    """The process schema, and in sentences where it departs from the published definitions."""
    texts = _reply_texts(definitions)
    notes: list[str] = []
    unpublished = sorted(set(usage.sent) - set(texts) - FREE_TEMPLATES)
    for label in unpublished:
        texts[label] = Counter({_most(usage.sent[label]): 1})
        notes.append(f"reply {label!r} has no published text; its text is the one most often sent")
    several = sorted(label for label, variants in texts.items() if len(variants) > 1)
    if several:
        notes.append(f"{len(several)} replies have several published texts; the schema holds one: {', '.join(several)}")
    demoted = sorted({f"{api}.{name} ({n})" for (api, name), n in usage.omitted.items()})
    if demoted:
        notes.append(f"published as required, left out by operators, so not required here: {', '.join(demoted)}")
    domains = {task.partition("_")[0] for task in definitions.tasks}
    common = sorted({label for label in texts if label.partition("_")[0] not in domains} | FREE_TEMPLATES)
    replies = [_reply(label, texts[label]) for label in sorted(texts)]
    replies += [Reply(id=label, text="{text}", slots=(FieldSpec(id="text"),)) for label in sorted(FREE_TEMPLATES)]
    schema = ProcessSchema(
        id=PROCESS_ID,
        version=PROCESS_VERSION,
        title="STAR: a help desk for bookings, banking, directions and more",
        procedures=tuple(
            _procedure(task, definitions, set(common), usage.briefings.get(task)) for task in sorted(definitions.tasks)
        ),
        forms=tuple(_form(api, definitions.apis[api], usage) for api in sorted(definitions.apis)),
        replies=tuple(replies),
        common_replies=tuple(common),
        actions={"submit_form": ActionTier(), "send_reply": ActionTier(), "send_text_to_chat": ActionTier()},
    )
    return schema, notes


def _form(api: str, published: Mapping[str, Any], usage: Usage) -> Form:
    required = {name for name in published["required"] if not usage.omitted[api, name]}
    fields = tuple(
        FieldSpec(
            id=spec["Name"],
            title=spec["ReadableName"],
            schema_=_value_schema(spec),
            required=spec["Name"] in required,
            pii=spec["Name"] in PII_FIELDS,
        )
        for spec in published["input"]
    )
    return Form(id=api, title=_title(api), fields=fields)


def _value_schema(spec: Mapping[str, Any]) -> dict[str, Any]:
    expression = {"type": "string", "pattern": EXPRESSION_PATTERN}
    match spec["Type"]:
        case "Categorical" | "CategoricalMultiple":
            return {"anyOf": [{"enum": list(spec["Categories"])}, expression]}
        case "RequestType":
            return {"enum": list(spec["Categories"])}
        case "Integer":
            return {"anyOf": [{"type": "integer", "minimum": spec["Min"], "maximum": spec["Max"]}, expression]}
        case "Boolean":
            return {"type": "boolean"}
    return {"type": "string"}


def _reply_texts(definitions: Definitions) -> dict[str, Counter[str]]:
    """Label -> text with its marks reduced to `{slot}` -> how many tasks publish it so."""
    texts: dict[str, Counter[str]] = {}
    for task in sorted(definitions.tasks):
        # Where the two files of a task differ, the one that the desk's screen showed is `responses.json`.
        published = {**definitions.tasks[task]["replies"], **definitions.responses[task]}
        for label, text in published.items():
            if label not in GRAPH_STATES | QUERY_NODES:
                texts.setdefault(label, Counter())[text] += 1
    return texts


def _reply(label: str, variants: Counter[str]) -> Reply:
    text = _most(variants)
    if len(variants) > 1 and variants[text] == 1:
        # Every task words it for itself ("... I am only able to help you with X."): keep the sentences they share.
        text = _shared_sentences(sorted(variants)) or text
    slots = {name: _slot(name, kind) for name, kind in _MARK.findall(text)}
    return Reply(id=label, text=_MARK.sub(r"{\1}", text), slots=tuple(slots.values()))


def _shared_sentences(texts: Sequence[str]) -> str:
    """The sentences that all texts begin with; empty if there is none."""
    sentences = zip(*(re.split(r"(?<=[.!?]) ", text) for text in texts), strict=False)
    return " ".join(first for first, *others in itertools.takewhile(lambda same: len(set(same)) == 1, sentences))


def _slot(name: str, kind: str) -> FieldSpec:
    return FieldSpec(id=name, schema_={"type": "integer" if kind == "d" else "string"})


def _procedure(task: str, definitions: Definitions, common: set[str], briefings: Counter[str] | None) -> Procedure:
    labels = set(definitions.tasks[task]["replies"]) | set(definitions.responses[task])
    graph: dict[str, tuple[str, ...]] = {}
    for node, following in definitions.tasks[task]["graph"].items():
        source, target = _node(task, node), _node(task, following)
        graph[source] = tuple(dict.fromkeys((*graph.get(source, ()), target)))
    return Procedure(
        id=task,
        title=_title(task),
        text=_most(briefings) if briefings else "",
        graph=graph,
        forms=(task,) if task in definitions.apis else (),
        replies=tuple(sorted(labels - GRAPH_STATES - QUERY_NODES - common)),
    )


def _node(task: str, node: str) -> str:
    return f"submit_form:{task}" if node in QUERY_NODES else node


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _most(counts: Counter[str]) -> str:
    return min(counts, key=lambda text: (-counts[text], text))

"""The process schema: screens, forms, controls, replies, procedures and tiers as data.

One YAML file a process. A *process* is the unit of release (one registered model); its *procedures* are
the kinds of case it handles. Everything that reads, renders, decodes, checks or draws a session does so
from this file, so a new process needs data and no code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import jsonschema
import yaml
from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from selective_autonomy.errors import ProcessError
from selective_autonomy.frozen import Frozen
from selective_autonomy.process.actions import ActionType, Scalar
from selective_autonomy.process.admission import quick_check

Tier = Literal["routine", "critical"]


class FieldSpec(Frozen):
    """One input: `schema` is a JSON Schema for a scalar (type, enum, minimum, pattern, ...)."""

    id: str
    title: str = ""
    schema_: dict[str, Any] = Field(alias="schema", default_factory=lambda: {"type": "string"})
    required: bool = False
    pii: bool = False

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    @field_validator("schema_")
    @classmethod
    def _is_a_json_schema(cls, value: dict[str, Any]) -> dict[str, Any]:
        jsonschema.Draft202012Validator.check_schema(value)
        return value

    @property
    def choices(self) -> tuple[Scalar, ...] | None:
        """The closed list of values, or None when the field is free."""
        if self.schema_.get("type") == "boolean":
            return (True, False)
        enum = self.schema_.get("enum")
        return tuple(enum) if enum is not None else None

    @cached_property
    def validator(self) -> jsonschema.Draft202012Validator:
        """Says what is wrong with a value; to ask only whether one is valid, `admits` is much faster."""
        return jsonschema.Draft202012Validator(self.schema_)

    @cached_property
    def admits(self) -> Callable[[Scalar], bool]:
        """Whether a value is valid; as `validator` has it."""
        return quick_check(self.schema_) or self.validator.is_valid


class Form(Frozen):
    id: str
    title: str = ""
    fields: tuple[FieldSpec, ...] = ()

    def field(self, field_id: str) -> FieldSpec | None:
        return next((f for f in self.fields if f.id == field_id), None)


class Control(Frozen):
    id: str
    title: str = ""


class Reply(Frozen):
    """A templated reply; `text` holds `{slot}` marks for its slots."""

    id: str
    text: str
    slots: tuple[FieldSpec, ...] = ()


class Procedure(Frozen):
    """A kind of case: its written text, its step graph (head or reply id -> next ones), what it uses.

    An empty `forms` / `replies` / `controls` means: none of that kind beyond the process-wide ones.
    """

    id: str
    title: str = ""
    text: str = ""
    graph: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    forms: tuple[str, ...] = ()
    replies: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()


class ActionTier(Frozen):
    """How an action type is gated. `cost` is the cost of a wrong one, in operator seconds to repair."""

    tier: Tier = "critical"
    alpha: float = Field(default=0.1, gt=0, lt=1)
    cost: float = Field(default=60.0, ge=0)


class ProcessSchema(Frozen):
    """A process as data. Ids are unique within their kind; every reference resolves."""

    schema_version: Literal[1] = 1
    id: str
    version: str
    title: str = ""
    procedures: tuple[Procedure, ...] = Field(min_length=1)
    forms: tuple[Form, ...] = ()
    controls: tuple[Control, ...] = ()
    replies: tuple[Reply, ...] = ()
    queues: tuple[str, ...] = ()
    common_forms: tuple[str, ...] = ()
    common_replies: tuple[str, ...] = ()
    common_controls: tuple[str, ...] = ()
    actions: dict[ActionType, ActionTier]

    @model_validator(mode="after")
    def _references_resolve(self) -> ProcessSchema:
        for kind in ("procedures", "forms", "controls", "replies"):
            ids = [item.id for item in getattr(self, kind)]
            twice = sorted({i for i in ids if ids.count(i) > 1})
            if twice:
                raise ValueError(f"{kind} with the same id: {twice}; ids must be unique")
        known = {
            "forms": {f.id for f in self.forms},
            "replies": {r.id for r in self.replies},
            "controls": {c.id for c in self.controls},
        }
        for kind, ids_known in known.items():
            used = {(f"procedure {p.id}", i) for p in self.procedures for i in getattr(p, kind)}
            used |= {(f"common_{kind}", i) for i in getattr(self, f"common_{kind}")}
            lost = sorted(f"{where} -> {i}" for where, i in used if i not in ids_known)
            if lost:
                raise ValueError(f"{kind} that are named but not defined: {lost}")
        return self

    @cached_property
    def forms_by_id(self) -> dict[str, Form]:
        return {f.id: f for f in self.forms}

    @cached_property
    def replies_by_id(self) -> dict[str, Reply]:
        return {r.id: r for r in self.replies}

    @cached_property
    def procedures_by_id(self) -> dict[str, Procedure]:
        return {p.id: p for p in self.procedures}

    def tier(self, action_type: ActionType) -> ActionTier:
        """The tier of an action type; an action the schema does not list is critical at the default alpha."""
        return self.actions.get(action_type, ActionTier())

    @cached_property
    def digest(self) -> str:
        """sha256 of the canonical JSON; two schemas with one digest are the same schema."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json", by_alias=True)).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: one text per value, fit for hashing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def load_process(path: Path) -> ProcessSchema:
    """Read one process YAML file.

    Raises:
        ProcessError: the file is missing, is not YAML, or breaks the schema; the message names the
            file and every offending field.
    """
    try:
        return ProcessSchema.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as err:
        raise ProcessError(f"cannot read the process schema {path}: {err}; give the path of a process YAML") from err
    except (yaml.YAMLError, ValidationError) as err:
        raise ProcessError(f"{path} is not a process schema: {err}") from err


def save_process(schema: ProcessSchema, path: Path) -> None:
    """Write a process schema as YAML that `load_process` reads back to an equal value."""
    data = schema.model_dump(mode="json", by_alias=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), encoding="utf-8")

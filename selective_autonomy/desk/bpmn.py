"""BPMN 2.0 procedures, executed by SpiffWorkflow: which forms, controls and duties are ready, and what they lead to.

User tasks with a form key are forms; user tasks with a `control` property are controls; manual tasks are
duties in the chat (`tell`: inform the customer, `transfer`: hand over). Script tasks ask the back office
and put what the screen shall show into `screen`. End events `end_<how>` say how the procedure ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from SpiffWorkflow import TaskState
from SpiffWorkflow.bpmn import BpmnWorkflow
from SpiffWorkflow.bpmn.parser import BpmnValidator
from SpiffWorkflow.bpmn.parser.ValidationException import ValidationException
from SpiffWorkflow.bpmn.script_engine import PythonScriptEngine, TaskDataEnvironment
from SpiffWorkflow.camunda.parser import CamundaParser
from SpiffWorkflow.exceptions import SpiffWorkflowException

from selective_autonomy.errors import DeskError, ProcessError
from selective_autonomy.process.actions import Scalar


@dataclass(frozen=True)
class Shown:
    """What a script task put on the screen; `form` is the form whose result it is."""

    form: str | None
    values: dict[str, Scalar]


@dataclass(frozen=True)
class Duty:
    """A chat duty that is due: what to tell, and the name of the yes/no answer it brings (None: no answer)."""

    tell: str
    answer: str | None


class Flows:
    """All BPMN procedures of a folder, parsed and validated once; specs are shared by every run."""

    def __init__(self, folder: Path) -> None:
        files = sorted(folder.glob("*.bpmn"))
        if not files:
            raise ProcessError(f"no .bpmn file in {folder}; expected one for each procedure")
        parser = CamundaParser(validator=BpmnValidator())
        try:
            for file in files:
                parser.add_bpmn_file(str(file))
            self.specs = {
                name: (parser.get_spec(name), parser.get_subprocess_specs(name)) for name in parser.get_process_ids()
            }
        except (ValidationException, SyntaxError) as err:  # SyntaxError: not XML at all (lxml)
            raise ProcessError(f"a BPMN file in {folder} cannot be read: {err}") from err

    @property
    def forms(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """Form key -> field id -> its choices (empty: free), as the BPMN files define them."""
        return {
            task.form.key: {f.id: tuple(o.id for o in getattr(f, "options", ())) for f in task.form.fields}
            for task in self._tasks()
            if getattr(getattr(task, "form", None), "key", None)
        }

    def marks(self, name: str) -> set[str]:
        """All values of a task property: `control`, `tell`, `transfer`, ..."""
        return {task.extensions[name] for task in self._tasks() if name in (getattr(task, "extensions", None) or {})}

    def _tasks(self) -> Iterator[Any]:
        for spec, _ in self.specs.values():
            yield from spec.task_specs.values()

    @classmethod
    @cache
    def load(cls, folder: Path) -> Flows:
        """Parse a folder once a process.

        Raises:
            ProcessError: there is no BPMN file, or one is not valid BPMN 2.0.
        """
        return cls(folder)


class Run:
    """One execution of a procedure on one case."""

    def __init__(
        self,
        flows: Flows,
        procedure: str,
        services: Mapping[str, Callable[..., dict[str, Scalar]]],
        *,
        identified: bool,
    ) -> None:
        if procedure not in flows.specs:
            raise DeskError(f"no BPMN flow {procedure!r}; expected one of {sorted(flows.specs)}")
        spec, called = flows.specs[procedure]
        self.procedure, self.ended = procedure, ""
        self._shown: list[Shown] = []
        engine = PythonScriptEngine(TaskDataEnvironment(dict(services)))
        self._workflow = BpmnWorkflow(spec, called, script_engine=engine)
        self._workflow.task_tree.data["identified"] = identified
        self._ready: list[Any] = []
        self._advance()

    @property
    def identified(self) -> bool:
        return bool(self._workflow.last_task.data.get("identified", False))

    @property
    def forms(self) -> tuple[str, ...]:
        """Forms that may be submitted now."""
        return tuple(form for task in self._ready if (form := _form(task)))

    @property
    def controls(self) -> tuple[str, ...]:
        """Controls that may be clicked now."""
        return tuple(task.task_spec.extensions["control"] for task in self._ready if "control" in _marks(task))

    @property
    def duties(self) -> tuple[Duty, ...]:
        """What the customer must be told now."""
        return tuple(
            Duty(_marks(task)["tell"], _marks(task).get("answer")) for task in self._ready if "tell" in _marks(task)
        )

    @property
    def queue(self) -> str | None:
        """The queue that the case must be handed to now, None if it must not."""
        return next((_marks(task)["transfer"] for task in self._ready if "transfer" in _marks(task)), None)

    def submit(self, form: str, values: Mapping[str, Scalar]) -> list[Shown]:
        """Complete the user task of a form; what the screen shows then."""
        return self._complete(lambda task: _form(task) == form, f"form {form!r}", dict(values))

    def click(self, control: str) -> list[Shown]:
        """Complete the user task of a control; what the screen shows then."""
        return self._complete(lambda task: _marks(task).get("control") == control, f"control {control!r}", {})

    def told(self, duty: Duty, answer: bool | None) -> list[Shown]:
        """Complete a chat duty with the customer's answer."""
        data = {} if duty.answer is None else {duty.answer: bool(answer)}
        return self._complete(lambda task: _marks(task).get("tell") == duty.tell, f"duty {duty.tell!r}", data)

    def transferred(self) -> list[Shown]:
        """Complete the duty to hand the case over."""
        return self._complete(lambda task: "transfer" in _marks(task), "a transfer", {})

    def _complete(self, fits: Callable[[Any], bool], what: str, data: dict[str, Any]) -> list[Shown]:
        task = next((task for task in self._ready if fits(task)), None)
        if task is None:
            raise DeskError(f"{what} is not ready in {self.procedure!r}; ready are {self.forms + self.controls}")
        task.data.update(data)
        self._shown = []
        task.run()
        self._advance()
        return self._shown

    def _advance(self) -> None:
        try:
            self._workflow.do_engine_steps(did_complete_task=self._note)
        except SpiffWorkflowException as err:
            raise DeskError(f"BPMN flow {self.procedure!r} failed: {err}") from err
        self._ready = self._workflow.get_tasks(state=TaskState.READY, manual=True)

    def _note(self, task: Any) -> None:
        name = task.task_spec.bpmn_id or ""
        if type(task.task_spec).__name__ == "ScriptTask":
            self._shown.append(Shown(_marks(task).get("form"), dict(task.data["screen"])))
        elif name.startswith("end_") and task.workflow is self._workflow:
            self.ended = name.removeprefix("end_")


def _marks(task: Any) -> dict[str, str]:
    return task.task_spec.extensions or {}


def _form(task: Any) -> str | None:
    return getattr(getattr(task.task_spec, "form", None), "key", None) or None

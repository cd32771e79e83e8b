"""The desk's three descriptions (process schema, BPMN flows, wording) must tell one story; checked when it opens."""

from __future__ import annotations

from selective_autonomy.desk.bpmn import Flows
from selective_autonomy.desk.wording import Wording
from selective_autonomy.errors import ProcessError
from selective_autonomy.process.schema import ProcessSchema


def check_desk(schema: ProcessSchema, flows: Flows, wording: Wording) -> None:
    """Every form, control, queue, duty, reply and procedure that one of them names is known to the others.

    Raises:
        ProcessError: naming everything that does not fit.
    """
    faults = [f"procedure {p.id!r} has no BPMN flow" for p in schema.procedures if p.id not in flows.specs]
    told = {meaning.tells for meaning in wording.meanings.values() if meaning.tells}
    controls = {control.id for control in schema.controls}
    for form, fields in flows.forms.items():
        spec = schema.forms_by_id.get(form)
        expected = {f.id: tuple(f.choices or ()) for f in spec.fields} if spec else None
        if fields != expected:
            faults.append(f"form {form!r} has fields {fields} in BPMN and {expected} in the process schema")
    faults += [f"control {name!r} is in BPMN only" for name in sorted(flows.marks("control") - controls)]
    faults += [f"queue {name!r} is in BPMN only" for name in sorted(flows.marks("transfer") - set(schema.queues))]
    faults += [f"no operator's phrase fulfils the duty {name!r}" for name in sorted(flows.marks("tell") - told)]
    faults += [
        f"reply {name!r} has no meaning" for name in sorted(set(schema.replies_by_id) - set(wording.by_template))
    ]
    faults += [
        f"reply {name!r} is in the wording only"
        for name in sorted(set(wording.by_template) - set(schema.replies_by_id))
    ]
    faults += [f"procedure {p.id!r} cannot be searched" for p in schema.procedures if p.id not in wording.searches]
    if faults:
        raise ProcessError(f"the desk {schema.id!r} contradicts itself: {'; '.join(faults)}")

"""What the answers themselves tell of who gave them: reasons by operator, and accepts too quick to have been read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def label_facts(table: pd.DataFrame) -> dict[str, Any]:
    """Metadata of a table of judged steps; who waves through is only told where seconds were logged."""
    import dagster as dg

    from selective_autonomy.labels.reasons import markdown, reasons
    from selective_autonomy.labels.rubber_stamps import rubber_stamps

    operators, accepted = table["operator_id"].tolist(), table["accepted"].tolist()
    said = [reason if isinstance(reason, str) else None for reason in table["reason"]]
    facts: dict[str, Any] = {"answers_by_operator": dg.MetadataValue.md(markdown(*reasons(operators, accepted, said)))}
    seconds = table["seconds"].astype("float64")
    if seconds.notna().any():
        paces = rubber_stamps(operators, accepted, seconds.to_numpy(), table["proposal"].str.len().to_numpy())
        flagged = [pace.operator_id for pace in paces if pace.verdict == "flagged"]
        facts["rubber_stamping"] = ", ".join(flagged) or "nobody"
    return facts

"""A decision bundle as an MLflow model. MLflow stores this file itself ("models from code") and runs it to load.

Input: one column `session`, a session log as JSON text. Output: one row of decision columns a session.
"""

import mlflow
import pandas as pd


class DecisionBundleModel(mlflow.pyfunc.PythonModel):
    """Loads the bundle, digests verified, and decides session by session; never acts."""

    def load_context(self, context: mlflow.pyfunc.PythonModelContext) -> None:
        from pathlib import Path

        from selective_autonomy.bundle import DecisionBundle

        self.bundle = DecisionBundle.load(Path(context.artifacts["bundle"]))

    def predict(self, context: mlflow.pyfunc.PythonModelContext, model_input: pd.DataFrame) -> pd.DataFrame:
        from selective_autonomy.traces.schema import Session

        sessions = [Session.model_validate_json(text) for text in model_input["session"]]
        decided = self.bundle.decide_batch(sessions)
        return pd.DataFrame(
            {
                "outcome": [d.decision.outcome for d in decided],
                "reason": [getattr(d.decision, "reason", None) for d in decided],
                "action": [d.proposal.action.model_dump_json() if d.proposal else None for d in decided],
                "p_accept": [d.p_accept for d in decided],
                "threshold": [d.threshold for d in decided],
                "certificate_id": [d.certificate_id for d in decided],
                "bundle_digest": [d.bundle_digest for d in decided],
            }
        )


mlflow.models.set_model(DecisionBundleModel())

"""Thresholds with a finite-sample guarantee, or an explicit refusal that says what is missing."""

"""Validation of traces and feedback, and drift between windows. Plain results out; loads its engines lazily."""

"""Replay, metrics with intervals, active time, figures."""

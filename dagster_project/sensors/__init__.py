"""Sensors: only for what happens outside, on disk."""

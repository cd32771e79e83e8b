"""Cheap rivals that every trained policy has to beat, kept so that it can be checked again."""

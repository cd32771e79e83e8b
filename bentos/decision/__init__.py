"""The decision service: one approved decision bundle behind typed endpoints."""

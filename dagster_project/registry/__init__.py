"""The model registry: one registered MLflow model a process, the decision bundle; approval by a named person."""

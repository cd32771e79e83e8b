"""What assets are given: the workspace on disk, the MLflow store, and where progress is shown."""

"""One renderer for training and serving: what a policy reads, what it may write, how that is parsed."""

"""The prompting baseline: an instruct model that was trained on no log reads the rules, the procedure and the case."""

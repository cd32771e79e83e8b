"""Next-action models: given a session's log, propose the next UI action. Never a rule document."""

"""Working cases: propose, decide, act once, hand off, resume; and making feedback durable."""

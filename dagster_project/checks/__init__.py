"""Asset checks: one for each expectation, and the claims that a release stands on."""

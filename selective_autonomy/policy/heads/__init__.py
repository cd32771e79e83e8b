"""What tells one legal head from another in any process: its place in the procedure, its text, what was done before."""

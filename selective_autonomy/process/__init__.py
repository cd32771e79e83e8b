"""What a line of support work looks like on the screen, and what may be done there."""

"""How far copilot feedback can be believed: who judges how well, who judges at all, and what the labels say."""

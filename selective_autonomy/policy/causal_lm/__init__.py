"""Causal language models: from scratch or any of Hugging Face, fine-tuned on sessions, decoding within the schema."""

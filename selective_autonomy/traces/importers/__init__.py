"""Importers: from logs of other systems to sessions under a process schema, with an honest report."""

"""The assets, one file a group. Bodies are thin: read, call the domain, write, say what came out."""

"""Sessions as versioned, append-only event logs; importers into them; splits over them."""

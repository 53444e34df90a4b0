"""API keys: which program calls, and what it may do."""

"""Messages: what was said. Recorded here, sent elsewhere."""

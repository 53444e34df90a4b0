"""Many contacts at once: import and export."""

"""People and programs say what was done, and whether an alarm was right."""

"""The node: one picture judged and recorded."""

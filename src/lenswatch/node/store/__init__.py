"""The node's database: windows, answers and the outbox, in one transaction."""

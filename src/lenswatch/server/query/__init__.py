"""The contract's query language, compiled to SQL."""

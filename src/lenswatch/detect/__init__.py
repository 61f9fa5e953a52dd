"""Detection: arrays in, arrays out; no file, clock, SQL or torch."""

"""Detection: functions of arrays that use no file, clock, database or torch."""

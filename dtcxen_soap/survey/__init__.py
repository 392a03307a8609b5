"""What this dom0 really has: reads the machine, and never writes."""

"""What goes wrong around the function, each thing done for real, and what then is stored: ``make faults``."""

"""What the command line is made of: its errors, its parameters, its screens."""

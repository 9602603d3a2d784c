"""How fast bnexp is, against the loops and tools that people use instead. `speed.py` is where to start."""

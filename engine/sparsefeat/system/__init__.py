"""What the machine offers: processors, memory, threads, installed packages."""

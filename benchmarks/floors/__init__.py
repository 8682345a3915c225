"""What services can't be faster than: bare routes that ask the same database the same questions, and nothing else."""

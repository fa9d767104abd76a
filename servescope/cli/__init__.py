"""The command line: stdout is data, stderr is everything else."""

"""Real engines as processes of this host: started, watched, drained, and never left behind."""

"""Who asks: people who sign in, programs with tokens, and what each may do."""

"""What arrives: arrivals, burstiness, lengths, clients, sessions, prefixes, failures."""

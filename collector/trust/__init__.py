"""How far each signal of each target can be trusted, worked out from one scrape after another."""

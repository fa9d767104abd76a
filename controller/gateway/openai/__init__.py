"""What OpenAI's API says: bodies, streams, errors."""

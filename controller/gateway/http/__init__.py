"""HTTP/1.1 on both sides: raw protocols with limits on every size and time."""

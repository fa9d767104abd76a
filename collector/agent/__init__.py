"""The node agent: scrapes and reads what is local, keeps it on disk, hands it over exactly once."""

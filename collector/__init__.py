"""From a socket or a file to columns. Imports only store; stays light enough for a node agent."""

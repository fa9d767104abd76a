"""What only one of the servers of a store may do, and how the others pass it on."""

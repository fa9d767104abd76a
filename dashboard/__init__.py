"""Pages and pictures over views. Shows rows; never computes a number of its own."""

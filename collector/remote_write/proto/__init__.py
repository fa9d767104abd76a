"""Messages of remote-write, generated from the `.proto` files beside by `make proto`."""

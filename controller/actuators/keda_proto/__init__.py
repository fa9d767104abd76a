"""Messages of KEDA's external scaler, generated from `scaler.proto` by `make proto`."""

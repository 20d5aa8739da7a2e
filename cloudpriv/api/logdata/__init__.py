"""HTTP of the processor plane: log data, for the customers whose it is."""

"""The processor plane: log data, which belongs to the customer, and what the customer has the vendor do with it."""

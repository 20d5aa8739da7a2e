"""The controller plane: what the vendor itself holds of its customers' people."""

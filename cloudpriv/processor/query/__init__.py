"""Points as they are read: found, merged in order, counted, aggregated, named and written in the customer's formats."""

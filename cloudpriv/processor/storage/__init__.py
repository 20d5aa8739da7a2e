"""Points where they lie: sealed chunks in the object store, the rows that lead to them, what rearranges and sweeps them."""

"""What is due to be erased, its erasure, and the ledger of what is gone."""

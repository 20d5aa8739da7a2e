"""What runs by itself or at an operator's word: clocks, an account's erasure, what is told, a restore accepted."""

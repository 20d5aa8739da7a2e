"""What the customer orders: deletions, exports, instructions, rules of retention, and the record of them."""

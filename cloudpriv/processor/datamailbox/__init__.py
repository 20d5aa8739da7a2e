"""The DataMailbox API's view of an account: its devices, their latest points, and what a reader has not been sent yet."""

"""What the handling of every request rests on: its states, deadlines, grounds and details, and the case at work."""

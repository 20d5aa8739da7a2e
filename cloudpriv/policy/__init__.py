"""The privacy policy as data, and the calendar rules by which its promises are kept. It reads one file."""

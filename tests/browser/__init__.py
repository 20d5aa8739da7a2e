"""The portal in a real browser, served by real processes."""

"""The commands behind `cloudpriv`: what operators do from a terminal."""

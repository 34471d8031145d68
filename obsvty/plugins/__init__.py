"""The built-in plug-ins; they come in through the same door as everybody else's."""

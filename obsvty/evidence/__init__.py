"""From where to why: stack traces, code locations, and the commits that explain them, ranked with reasons."""

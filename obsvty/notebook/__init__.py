"""The notebook door: a kernel, its magics, rich reprs and widgets."""

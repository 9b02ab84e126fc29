"""Model families behind one protocol, and the bundle that carries them."""

"""Sources of pictures besides uploads: each one turns what arrives into calls of `Node.observe`."""

"""Where pictures come from besides uploads: each source turns what arrives into calls of `Node.observe`."""

"""Code that tests share: servers, databases, stand-ins for other products, footage."""

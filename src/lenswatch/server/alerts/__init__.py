"""People are told when something is wrong: rules, decisions, channels and deliveries."""

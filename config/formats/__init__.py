"""How the admin writes times, so that every page of it and of ours says the same, with its zone."""

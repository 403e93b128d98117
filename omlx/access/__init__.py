"""Who may use the server and who may administer it: keys, the password, sessions, limits. Knows no HTTP."""

"""The admin page: what a person sees of the server in a browser."""

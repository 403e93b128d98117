"""Models for MLX made of others: built in a hidden folder by the libraries' own converters, and shown by one rename."""

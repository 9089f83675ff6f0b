"""The recipes that come along, each a TOML file that says in its first comment what it is."""

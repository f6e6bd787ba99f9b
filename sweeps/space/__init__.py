"""What may vary: domains, and one small grammar for code, TOML and the command line."""

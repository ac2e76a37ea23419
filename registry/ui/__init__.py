"""The pages under /-/ui: signing in, what one has, and confirming the logins of clients."""

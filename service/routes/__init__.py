"""The HTTP surface, one module a family of routes; each has a `router`."""

"""What measures the rows' numbers: one frozen dataclass a kind of measurement."""

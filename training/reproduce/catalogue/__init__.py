"""The rows: what the paper has measured, and what measures it here."""

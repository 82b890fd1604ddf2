"""Tests that see both halves: what one writes, the other serves."""

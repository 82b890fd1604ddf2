"""Tests of the training half, one module each."""

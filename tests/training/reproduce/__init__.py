"""The report: its rows, its jobs on drawn pictures, what it keeps and what it says."""

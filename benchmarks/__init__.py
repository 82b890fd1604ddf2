"""One script a question, each printing a table side by side with its baseline."""

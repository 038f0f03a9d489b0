"""Model x data set -> one row an image; then means with their intervals, paired tests, tables and the worst cases."""

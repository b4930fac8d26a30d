"""One module for each foreign format that a table can be made from."""

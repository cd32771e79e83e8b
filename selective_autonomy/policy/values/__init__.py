"""What goes into a field: the values there are to choose from, and which one operators would take."""

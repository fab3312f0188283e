"""The README's tables, made from the committed rows."""

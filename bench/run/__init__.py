"""``bench run``: from cells to rows, in processes of their own."""

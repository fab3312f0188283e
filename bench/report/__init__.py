"""The page that people read: one self-contained HTML file, made from rows and scores."""

"""A claim of the literature, its verdict, and the page of all claims."""

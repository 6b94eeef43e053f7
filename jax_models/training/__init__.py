"""What training needs, on plain arrays."""

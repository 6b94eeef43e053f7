"""What is trained on: labelled structures, and batches of one shape."""

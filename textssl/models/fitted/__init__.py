"""What is fitted beside a backbone without a gradient: clusters of vectors, a baseline on lengths."""

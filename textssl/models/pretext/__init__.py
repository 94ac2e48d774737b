"""Parts of pretext tasks beside a backbone: clusters of vectors, heads on several segments, a baseline on lengths."""

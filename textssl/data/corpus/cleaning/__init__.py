"""What is kept out of a corpus: documents that break a rule, and near-duplicates. Works on texts, knows no tokens."""

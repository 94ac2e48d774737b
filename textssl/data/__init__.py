"""From raw text to the batches of a step: documents, samples, corpora on disk, the plan, packing.

No model, no objective.
"""

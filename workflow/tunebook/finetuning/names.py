"""Names that architectures go by, and a size, for those who must not wait for torch."""

# Under which they keep the dropout that `training.dropout` sets
DROPOUTS = ("dropout", "hidden_dropout_prob", "resid_pdrop", "dropout_rate", "hidden_dropout")
HEADS = ("classifier", "score", "classification_head")  # new and trained whole, so never quantized
CHUNK_BYTES = 64 << 20  # of float32 logits that a causal model's loss makes at a time


def positions_at_a_time(vocabulary: int) -> int:
    """Positions whose logits fit into CHUNK_BYTES, and one at least."""
    return max(1, CHUNK_BYTES // (4 * vocabulary))

"""Names that architectures go by, and numbers of evaluation, for those who must not wait for torch."""

# Under which they keep the dropout that `training.dropout` sets
DROPOUTS = ("dropout", "hidden_dropout_prob", "resid_pdrop", "dropout_rate", "hidden_dropout")
HEADS = ("classifier", "score", "classification_head")  # new and trained whole, so never quantized
FEW_SHOT_DRAWS = 5  # sets of examples that the untouched model is shown, one after the other

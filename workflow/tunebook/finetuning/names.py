"""Names that architectures go by, for those who must not wait for torch."""

# Under which they keep the dropout that `training.dropout` sets
DROPOUTS = ("dropout", "hidden_dropout_prob", "resid_pdrop", "dropout_rate", "hidden_dropout")

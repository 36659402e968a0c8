"""Names under which architectures keep the dropout that `training.dropout` sets. Light: the estimate imports it."""

DROPOUTS = ("dropout", "hidden_dropout_prob", "resid_pdrop", "dropout_rate", "hidden_dropout")

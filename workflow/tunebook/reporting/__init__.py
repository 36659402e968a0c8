"""From records to tables, figures and pages. Nothing in here imports torch."""

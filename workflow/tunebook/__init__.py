"""Tunebook: finetune pretrained language models and bind the runs into one report.

Library modules are nouns (`config`, `models`, `scoring`); stages are verbs (`prepare`, `train`, `evaluate`). Every stage
is a command, `python -m tunebook STAGE --help`, and the workflow's rules run nothing but these commands.
"""

"""The figures' colours: Okabe & Ito's (2008), told apart by people with any colour vision.

The report maps each to a variable of its style sheet, so that figures follow a dark theme; figures use no others.
"""

from __future__ import annotations

INK = "#222529"
QUIET = "#6b7077"
GRID = "#dcdfe3"
PAPER = "#ffffff"
BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9"
TRAINING, VALIDATION, BASE = BLUE, VERMILLION, QUIET
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)

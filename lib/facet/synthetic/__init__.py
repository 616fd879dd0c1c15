"""Synthetic people: who they are, how they stand, what lies behind them; their images and truths."""

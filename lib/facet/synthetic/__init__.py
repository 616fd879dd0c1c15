"""Synthetic people: who they are, how they stand, what lies behind them, and the images and truths made of them."""

"""Sweeps: many parameter sets of one backtest, worked out in parts by whichever workers are free."""

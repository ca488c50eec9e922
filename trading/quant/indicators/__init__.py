"""Indicators: one module each, found by being there.

A module of this folder holds ``INDICATOR``, an `Indicator` of `trading.quant.indicator`, and the function behind it
for those who call it by hand: arrays in, arrays out, NaN where there are not bars enough yet. No value depends on a
later bar.
"""

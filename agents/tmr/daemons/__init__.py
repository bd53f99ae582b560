"""Entry points: each puts one daemon together."""

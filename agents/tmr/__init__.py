"""The TMR licence system."""

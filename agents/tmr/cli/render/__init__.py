"""Answers of the client API as tables and text for people."""

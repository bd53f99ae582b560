"""Rules that a campaign has to prove, one a module: `check(history)` gives what was broken, in words."""

"""What a campaign has to prove, one rule a module: `check(history)` gives what was broken, in words."""

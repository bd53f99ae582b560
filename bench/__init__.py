"""What the TMR system costs, beside what a user would run instead, in alternation on the same machine."""

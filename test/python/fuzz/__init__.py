"""Fuzzing the far side: what reads bytes or trees that a hostile program can write. `python -m fuzz`, or `npm run fuzz`."""

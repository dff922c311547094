"""The layers a sandbox is confined by: one kernel mechanism a file."""

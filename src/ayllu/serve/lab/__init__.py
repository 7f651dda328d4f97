"""The lab's page: all that is kept and runs, in a browser on this machine. It reads the home and changes nothing."""

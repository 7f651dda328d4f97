"""What stands before the routes of the gateway."""

"""What the tests of fleets share."""

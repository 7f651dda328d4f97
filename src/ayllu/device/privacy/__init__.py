"""What bystanders can rely on: a ledger of what was captured, and whom it is captured by leave of."""

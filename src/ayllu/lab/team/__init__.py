"""A store that several people and machines share: a folder or an S3 bucket, beside each one's own home."""

"""OpenAI's moderations, by the judge of harm that comes with Ayllu."""

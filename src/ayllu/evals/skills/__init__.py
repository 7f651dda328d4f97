"""What a chat model can do, judged by its replies, and what a draft model foresees of them."""

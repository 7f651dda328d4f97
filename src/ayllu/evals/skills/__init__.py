"""What a chat model can do, judged by its replies; and how much of them a draft model foresees."""

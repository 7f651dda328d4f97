"""OpenAI's Realtime protocol: a conversation by voice over a WebSocket."""

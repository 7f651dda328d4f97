"""OpenAI's Realtime protocol over WebRTC: sound on tracks, events on a data channel."""

"""OpenAI's audio: files of sound to text and text to sound, by the ears and the voice that the server was given."""

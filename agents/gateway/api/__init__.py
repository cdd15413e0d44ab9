"""The side that clients see: HTTP, and the OpenAI API."""

"""Sessions: what the chatbot collected."""

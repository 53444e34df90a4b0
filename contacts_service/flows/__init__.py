"""Flows: the scripts of the chatbot, and how the agent desktop shows what they collect."""

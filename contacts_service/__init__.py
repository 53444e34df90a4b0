"""The contacts service: who a person is, who looks after them, what was said and what the chatbot collected."""

__version__ = "0.1.0"

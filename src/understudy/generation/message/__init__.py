"""What a message asks for: which tools, how many calls, which values, by words and vectors."""

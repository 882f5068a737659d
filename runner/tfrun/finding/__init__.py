"""The search for the largest batch that fits, in processes that may run out of memory."""

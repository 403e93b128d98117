"""Token ids in, token ids out: requests, the batch, and the step loop. Knows nothing of text, HTTP or processes."""

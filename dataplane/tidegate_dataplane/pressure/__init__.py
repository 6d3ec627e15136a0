"""What happens when more is asked than can be served: who waits, who goes first, who is turned away."""

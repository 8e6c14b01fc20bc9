"""JSON Schemas as contracts: what a grammar holds, what is checked, what is refused."""

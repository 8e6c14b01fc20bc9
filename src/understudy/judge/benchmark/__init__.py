"""Speed, memory and perplexity: figures that stand beside the limits of the machine."""

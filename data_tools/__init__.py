"""Tools that make datasets: measure a language model, embed its prompts, describe the result.

The tools need the heavy libraries (torch, transformers, datasets); the environment that reads what
they write does not. Nothing is imported here so that each tool loads only what it uses.
"""

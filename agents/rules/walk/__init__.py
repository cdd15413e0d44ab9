"""Playing the networks of a walk along the queue without a step of Python or torch.

The networks are those of `agents.policies.walk`, and what they look at is what
`edgecloud_gym.wrappers.QueueHead` shows, number by number (tests compare both); `walk_rule` is the
same as a compiled rule. Learning needs many lanes and gradients, and has those.
"""

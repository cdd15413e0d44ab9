"""A gateway: agents route the requests that real servers answer.

From the outside in: `api` (HTTP) → `gateway` (from start to shutdown) → `relay` (one request, from
its arrival to its last byte; what its client is sent is a `reply`) → `dispatcher` (who waits, who
is where) → `decisions` (the decision process of `edgecloud_gym.envs.live`, and the agent) and
`servers`.
"""

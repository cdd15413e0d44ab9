"""The simulator: a queue, an edge and a cloud, in any number of lanes. Knows no Gymnasium."""

"""The folder of an experiment: whose it is, the tables in it, and the record of what was played."""

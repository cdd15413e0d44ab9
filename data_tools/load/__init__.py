"""A server under load: open loops of arrivals, sweeps over fixed concurrencies."""

"""Measurements that one command makes again: `selective-autonomy bench …`."""

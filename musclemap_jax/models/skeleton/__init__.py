"""The skeleton branches: HD-GCN, ST-GCN and CTR-GCN."""
